"""Tables: the reader of csv, tsv, json, jsonl and parquet files, for all sources and requests.

A file is converted to Arrow once, into a cache, and mapped into memory from then on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.data.cache import cached
from lorarec.data.delimited import delimited_tables, skipped_note
from lorarec.data.file_rows import Rows
from lorarec.data.header import Delimited, delimited
from lorarec.data.json_rows import json_file, json_tables
from lorarec.data.open_files import DETECT, Format, ReadOptions, encoding_notes, format_of, other_columns, table_origin
from lorarec.data.parquet_files import joined_type, parquet_tables
from lorarec.data.parquet_table import ParquetTable, stamp
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

CACHE_VERSION = 3
"""Increase it when a reader returns other values for the same bytes."""


def read_table(
    paths: Path | Sequence[Path],
    *,
    format: Format | None = None,
    text: bool = False,
    options: ReadOptions = DETECT,
) -> Dataset:
    """One file, or several of one format in this order, as a Dataset on disk: converted once, into the cache, and
    mapped into memory.

    The format is that of the suffix, or `format`. Values are read as written: words such as NA and None stay text,
    and a column of csv or tsv holds numbers only if each of its values is spelled like one (007, +5, 12E4 and 0x1F are
    not); with `text` all its columns stay text. A field of json or jsonl that has values of several kinds is text,
    strings as they are and everything else as JSON. The columns of all files are the same, in any order, and each has
    one type.

    Raises DataError naming the file, and the line or row and field, of values that cannot be read.
    """
    paths = _listed(paths)
    kind = _format(paths, format, options)
    return cached_table(paths, [kind, text, options], lambda: tables(paths, format=kind, text=text, options=options))


def read_events(paths: Path | Sequence[Path], *, options: ReadOptions = DETECT) -> Dataset | ParquetTable:
    """As `read_table`, except that parquet files are not copied: columns that nothing reads cost nothing."""
    paths = _listed(paths)
    if _format(paths, None, options) == "parquet":
        return ParquetTable(paths)
    return read_table(paths, options=options)


def read_into_memory(
    path: Path, *, format: Format | None = None, text: bool = False, options: ReadOptions = DETECT
) -> pa.Table:
    """As `read_table`, but without writing to the cache: requests may be private and are not kept."""
    return pa.concat_tables(tables([path], format=format, text=text, options=options)).combine_chunks()


def tables(
    paths: Sequence[Path],
    *,
    format: Format | None = None,
    text: bool = False,
    options: ReadOptions = DETECT,
) -> Iterator[pa.Table]:
    """The files as Arrow tables of one schema, block by block."""
    kind = _format(paths, format, options)
    if text and kind not in ("csv", "tsv"):
        raise DataError(f"{paths[0]}: only csv and tsv files can be read as text; {kind} files say what is a number.")
    if kind in ("csv", "tsv"):
        return delimited_tables(paths, kind == "tsv", text, options)
    if kind in ("json", "jsonl"):
        return json_tables(paths, kind == "jsonl", options)
    return parquet_tables(paths)


def reading_notes(paths: Path | Sequence[Path], options: ReadOptions = DETECT) -> tuple[str, ...]:
    """What `read_table` detects in the first rows of the files (separator, encoding), for the data report."""
    paths = _listed(paths)
    kind = _format(paths, None, options)
    detected: dict[str, list[Path]] = {}
    for path in paths if kind != "parquet" else ():
        if kind in ("csv", "tsv"):
            file = delimited(path, kind == "tsv", options)
            notes = file.notes + (_skipped(file, options) if file.skip else ())
        else:
            notes = json_file(path, kind == "jsonl", options).notes
        for note in (*notes, *encoding_notes(path, options)):
            detected.setdefault(note, []).append(path)
    return tuple(f"{table_origin(of)}: {note}" for note, of in detected.items())


def _skipped(file: Delimited, options: ReadOptions) -> tuple[str, ...]:
    """`skipped_note`, computed once for each content. No request is read by this option, so that none is kept."""

    def write(sink: pa.NativeFile) -> None:
        sink.write(json.dumps(skipped_note(file)).encode())

    return tuple(json.loads(cached("skipped", _key([file.path], [options]), write).content.to_pybytes()))


def table_rows(files: Sequence[tuple[Path, ReadOptions]]) -> Rows | None:
    """The rows of a table of these files, each with its options, for messages; None for one file."""
    if len(files) == 1:
        return None
    return Rows(None, [(str(path), partial(_count_rows, path, options)) for path, options in files])


def _count_rows(path: Path, options: ReadOptions) -> int:
    return _rows_in(path, options, stamp(path) if path.exists() else None)


@cache
def _rows_in(path: Path, options: ReadOptions, _stamp: tuple[int, int, int] | None) -> int:
    """The rows of a file, counted once for each state of it: one message may name several rows."""
    try:
        if format_of(path) == "parquet":
            return int(pq.read_metadata(path).num_rows)
        return sum(table.num_rows for table in tables([path], options=options))
    except DataError:  # a json file without a row, which may be one of several
        return 0


def joined_tables(parts: Mapping[str, Dataset]) -> Dataset:
    """Tables of the same columns, one after the other; each under the name of its file, for messages.

    A column of different types, also within lists, gets the narrowest type that holds all values; one that is empty in
    a table has the type of the others. Raises DataError naming file and column where one lacks a column of the others,
    or has lists where they have none.
    """
    from datasets import Dataset

    first, *others = parts
    for name in others:
        if set(parts[name].column_names) != set(parts[first].column_names):
            raise other_columns(name, parts[name].column_names, first, parts[first].column_names)
    tables = {name: _as_stored(part) for name, part in parts.items()}
    common = tables[first].schema
    for name in others:
        schema = tables[name].schema
        fields = [(f.name, joined_type(f.type, schema.field(f.name).type, name, f.name)) for f in common]
        common = pa.schema(fields)
    joined = pa.concat_tables([table.select(common.names).cast(common) for table in tables.values()])
    return Dataset(joined, fingerprint="-".join(part._fingerprint for part in parts.values()))


def cached_table(sources: Sequence[Path], options: Sequence[object], read: Callable[[], Iterator[pa.Table]]) -> Dataset:
    """The tables that `read` yields, as one memory-mapped Dataset.

    They are written to the cache under a hash of the sources' names and contents and of `options`, and read from there
    the next time; see `cached`. All tables must have one schema. They may be larger than memory, as long as each table
    fits. Raises DataError where a source changes while it is read.
    """
    from datasets import Dataset
    from datasets.table import InMemoryTable

    key = _key(sources, options)

    def write(sink: pa.NativeFile) -> None:
        tables = read()
        first = next(tables)
        with pa.ipc.new_stream(sink, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        if _key(sources, options) != key:
            raise DataError(f"{', '.join(map(str, sources))}: changed while being read. Run the command again.")

    content = cached("tables", key, write).content
    return Dataset(InMemoryTable.from_buffer(content), fingerprint=key)  # else it would be hashed once more


def _listed(paths: Path | Sequence[Path]) -> list[Path]:
    return [paths] if isinstance(paths, Path) else list(paths)


def _format(paths: Sequence[Path], given: Format | None, options: ReadOptions) -> Format:
    """The one format of all files. Raises DataError for files of several, and for options that do nothing in it."""
    formats = {format_of(path, given): path for path in reversed(paths)}
    if len(formats) > 1:
        kinds = " and ".join(f"{path} is {kind}" for kind, path in formats.items())
        raise DataError(f"The files of a table have one format, but {kinds}. Convert one of them.")
    (kind,) = formats
    only_delimited = ("sep", "header", "decimal", "on_bad_lines")
    idle = {"csv": (), "tsv": (), "parquet": ("encoding", *only_delimited)}.get(kind, only_delimited)
    for name in idle:
        if getattr(options, name) is not None:
            raise DataError(f"{paths[0]}: `{name}` does nothing for {kind} files. Leave it out.")
    return kind


def _key(sources: Sequence[Path], options: Sequence[object]) -> str:
    """A hash of all that the tables depend on; not of the files' times, which may stay while the content changes."""
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, [str(option) for option in options]]).encode())
    for source in sources:
        with source.open("rb") as file:
            digest.update(json.dumps(source.name).encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _as_stored(dataset: Dataset) -> pa.Table:
    """The Arrow table, without a copy where rows are neither selected nor reordered."""
    table: pa.Table = dataset.with_format("arrow")[:]
    return table.replace_schema_metadata(None)

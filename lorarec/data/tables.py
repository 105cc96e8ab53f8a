"""Tables: the reader of csv, tsv, json, jsonl and parquet files, for all sources and requests.

A file is converted to Arrow once, into a cache, and mapped into memory from then on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.data.cache import cached
from lorarec.data.columns import common_type, is_list
from lorarec.data.delimited import delimited_tables
from lorarec.data.json_rows import json_tables
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

Format = Literal["csv", "tsv", "json", "jsonl", "parquet"]
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
CACHE_VERSION = 3
"""Increase it when a reader returns other values for the same bytes."""


def read_table(path: Path, *, format: Format | None = None, text: bool = False) -> Dataset:
    """One file as a Dataset on disk: it is converted once, into the cache, and mapped into memory.

    The format is that of the suffix, or `format`. Values are read as written: words such as NA and None stay text,
    and a column of csv or tsv holds numbers only if each of its values is spelled like one (007, +5, 12E4 and 0x1F are
    not); with `text` all its columns stay text. A field of json or jsonl that has values of several kinds is text,
    strings as they are and everything else as JSON.

    Raises DataError naming the file, and the line or row and field, of values that cannot be read.
    """
    kind = _format(path, format)
    return cached_table([path], [kind, text], lambda: tables(path, format=kind, text=text))


def read_into_memory(path: Path, *, format: Format | None = None, text: bool = False) -> pa.Table:
    """As `read_table`, but without writing to the cache: requests may be private and are not kept."""
    return pa.concat_tables(tables(path, format=format, text=text)).combine_chunks()


def tables(path: Path, *, format: Format | None = None, text: bool = False) -> Iterator[pa.Table]:
    """The file as Arrow tables of one schema, block by block."""
    kind = _format(path, format)
    if text and kind not in ("csv", "tsv"):
        raise DataError(f"{path}: only csv and tsv files can be read as text; {kind} files say what is a number.")
    if kind in ("csv", "tsv"):
        return delimited_tables(path, kind == "tsv", text)
    if kind in ("json", "jsonl"):
        return json_tables(path, kind == "jsonl")
    return _parquet_tables(path)


def joined_tables(parts: Mapping[str, Dataset]) -> Dataset:
    """Tables of the same columns, one after the other; each under the name of its file, for messages.

    A column of different types, also within lists, gets the narrowest type that holds all values; one that is empty in
    a table has the type of the others. Raises DataError naming file and column where one lacks a column of the others,
    or has lists where they have none.
    """
    from datasets import Dataset

    first, *others = parts
    for name in others:
        if odd := set(parts[name].column_names) ^ set(parts[first].column_names):
            raise DataError(f"{name}: columns {sorted(odd)} are not in both this file and {first}.")
    tables = {name: _as_stored(part) for name, part in parts.items()}
    common = tables[first].schema
    for name in others:
        schema = tables[name].schema
        fields = [(f.name, _joined_type(f.type, schema.field(f.name).type, name, f.name)) for f in common]
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


def _format(path: Path, given: Format | None) -> Format:
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    if given is not None:
        return given
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: files of this kind are not read. Use one of: {', '.join(SUFFIXES)}.")
    return path.suffix.removeprefix(".")  # type: ignore[return-value]  # one of SUFFIXES


def _parquet_tables(path: Path) -> Iterator[pa.Table]:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{path}: the column '{name}' appears twice. Rename one of them.")
        yield _plain(file.schema_arrow.empty_table())
        for batch in file.iter_batches():
            yield _plain(pa.Table.from_batches([batch]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}. It may be damaged; copy it again.") from error


def _plain(table: pa.Table) -> pa.Table:
    """Columns of maps, which Datasets does not support, as JSON text."""
    for index, field in enumerate(table.schema):
        if pa.types.is_map(field.type):
            values = (None if row is None else dict(row) for row in table.column(index).to_pylist())
            texts = [None if row is None else json.dumps(row, ensure_ascii=False, default=str) for row in values]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    return table


def _joined_type(one: pa.DataType, other: pa.DataType, file: str, column: str) -> pa.DataType:
    if is_list(one) != is_list(other) and not pa.types.is_null(one) and not pa.types.is_null(other):
        raise DataError(
            f"{file}: column '{column}' holds {other}, but {one} in the other files. Write it the same way."
        )
    return common_type(one, other)


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

"""Tables: the reader of csv, tsv, json, jsonl and parquet files, for all sources and requests.

A file is converted to Arrow once, into a cache, and mapped into memory from then on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.data.columns import common_type, is_list
from lorarec.data.delimited import delimited_tables
from lorarec.data.json_rows import json_tables
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

Format = Literal["csv", "tsv", "json", "jsonl", "parquet"]
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
CACHE_VERSION = 2
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
    from datasets import Features, concatenate_datasets

    first, *others = parts
    for name in others:
        if odd := set(parts[name].column_names) ^ set(parts[first].column_names):
            raise DataError(f"{name}: columns {sorted(odd)} are not in both this file and {first}.")
    schemas = {name: part.features.arrow_schema for name, part in parts.items()}
    common = schemas[first]
    for name in others:
        fields = [(f.name, _joined_type(f.type, schemas[name].field(f.name).type, name, f.name)) for f in common]
        common = pa.schema(fields)
    features = Features.from_arrow_schema(common)
    return concatenate_datasets([part.select_columns(list(features)).cast(features) for part in parts.values()])


def cache_folder() -> Path:
    """The folder of converted and downloaded files: `lorarec` in the cache of Hugging Face Datasets."""
    import datasets  # slow, and `lorarec --help` does without

    return Path(datasets.config.HF_DATASETS_CACHE) / "lorarec"


def cached_table(sources: Sequence[Path], options: Sequence[object], read: Callable[[], Iterator[pa.Table]]) -> Dataset:
    """The tables that `read` yields, as one memory-mapped Dataset.

    They are written to the cache under a name derived from the sources' paths, sizes and modification times and from
    `options`, and read from there the next time. All tables must have one schema. They may be larger than memory, as
    long as each table fits. Written under a temporary name and renamed, so several processes may do this at once.
    Raises DataError where the disk is full.
    """
    target = cache_folder() / "tables" / f"{_fingerprint(sources, options)}.arrow"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            _write(part, read())
            os.replace(part, target)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DataError(
                f"{sources[0]}: the disk is full: no room for a copy in {target.parent}. Make room, or "
                "set the environment variable HF_DATASETS_CACHE to a folder on another disk."
            ) from error
        finally:
            part.unlink(missing_ok=True)
    from datasets import Dataset

    return Dataset.from_file(str(target))


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


def _fingerprint(sources: Sequence[Path], options: Sequence[object]) -> str:
    key: list[object] = [CACHE_VERSION, [str(option) for option in options]]
    for source in sources:
        stat = source.stat()
        key.append([str(source.resolve()), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _write(part: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)

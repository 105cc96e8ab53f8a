"""Reader of parquet files: one schema for all of them, batch by batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.data.columns import common_type, is_list
from lorarec.data.open_files import other_columns, refuse_nul
from lorarec.errors import DataError


def parquet_tables(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """The files, one after the other, batch by batch; an empty table first. Columns that Datasets does not support
    (maps, views) become JSON text or the plain type.

    Raises DataError naming the file that is damaged, or whose columns are not those of the first.
    """
    schema = parquet_schema(paths)
    yield schema.empty_table()
    for path in paths:
        for batch in _batches(path, schema.names):
            plain = _plain(batch)
            yield pa.table(
                {field.name: in_common_type(plain.column(field.name), field.type, path, field.name) for field in schema}
            )


def parquet_schema(paths: Sequence[Path]) -> pa.Schema:
    """The columns of the first file, each in the narrowest type that holds the values of all files.

    Raises DataError as `parquet_tables` does.
    """
    schema = _schema(paths[0])
    for path in paths[1:]:
        other = _schema(path)
        if set(other.names) != set(schema.names):
            raise other_columns(path, other.names, paths[0], schema.names)
        types = [joined_type(field.type, other.field(field.name).type, str(path), field.name) for field in schema]
        schema = pa.schema(list(zip(schema.names, types, strict=True)))
    return schema


def joined_type(one: pa.DataType, other: pa.DataType, file: str, column: str) -> pa.DataType:
    """The narrowest type that holds a column of two files. Raises DataError where only one of them has lists."""
    if is_list(one) != is_list(other) and not pa.types.is_null(one) and not pa.types.is_null(other):
        raise DataError(
            f"{file}: column '{column}' holds {other}, but {one} in the other files. Write it the same way."
        )
    return common_type(one, other)


def in_common_type(column: pa.ChunkedArray, kind: pa.DataType, path: Path, name: str) -> pa.ChunkedArray:
    """A file's column in the type of all files. Raises DataError naming both types where a value would change."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: column '{name}' holds {column.type}, and not all of it can be read as {kind}, the type that all "
            f"files together have: {str(error)[:200]}. Write the column in one type in all files."
        ) from error


def _schema(path: Path) -> pa.Schema:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error
    if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise DataError(f"{path}: the column '{twice[0]}' appears twice. Rename one of them.")
    refuse_nul(path, schema.names)
    return _plain(schema.empty_table()).schema


def _batches(path: Path, names: Sequence[str]) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield pa.Table.from_batches([batch]).select(names)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that cannot be read."""
    return DataError(f"{path}: not a readable parquet file: {str(error)[:300]}. It may be damaged; copy it again.")


def _plain(table: pa.Table) -> pa.Table:
    """The table without metadata, and with types that Datasets supports."""
    columns = {field.name: storable(table.column(field.name), field.type) for field in table.schema}
    return pa.table(columns)


def storable(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Views and run-end encoded values as plain ones, extensions as what they store, other types as JSON text."""
    from datasets import Features

    if isinstance(kind, pa.BaseExtensionType):
        return storable(
            pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type), kind.storage_type
        )
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}.get(kind)
    if pa.types.is_run_end_encoded(kind):
        plain = kind.value_type
    elif pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        plain = pa.large_list(kind.value_type)
    elif pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        plain = pa.decimal128(kind.precision, kind.scale)
    if plain is not None:
        return storable(column.cast(plain), plain)
    try:
        Features.from_arrow_schema(pa.schema([("", kind)]))
    except (ValueError, TypeError, NotImplementedError):  # a type that Datasets does not have
        texts = (_json(value) for value in column.to_pylist())
        return pa.chunked_array([pa.array(texts, pa.string())])
    return column


def _json(value: Any) -> str | None:
    """A value of a map, as an object, or of another type as JSON text."""
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = {str(key): inner for key, inner in value}
    return json.dumps(value, ensure_ascii=False, default=str)

"""Requests and answers in files: csv, tsv, jsonl or parquet, with the caller's own ids."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lorarec.data.columns import missing_column
from lorarec.data.delimited import typed
from lorarec.data.ids import encode_ids, id_texts
from lorarec.data.tables import read_into_memory
from lorarec.errors import DataError

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
SEPARATOR = "|"
"""Between the items of a history in csv and tsv files."""


def read_requests(path: Path) -> pa.Table:
    """The table in a file, read as every source reads it, but nothing of it is kept. Columns of csv and tsv stay text,
    for they go into the answers as they are. Raises DataError if it is missing, of another kind, or cannot be read."""
    table = read_into_memory(path, text=path.suffix in (".csv", ".tsv"))
    if not table.num_rows:
        raise DataError(f"{path}: there are no rows. Give at least one below the column names.")
    return table


def id_column(table: pa.Table, name: str, path: Path) -> list[str]:
    """A column of ids as strings. Raises DataError if it is missing or has gaps."""
    _refuse_missing(table, name, path)
    return id_texts(as_read(table.column(name)), f"{path}, column '{name}'")


def list_column(table: pa.Table, name: str, path: Path) -> list[list[str]]:
    """A column of lists of ids: as such, as JSON, or joined by "|"; an empty field is an empty list.

    Raises DataError naming the row of a list that cannot be read, or that holds an empty id.
    """
    lists = [values for _, values in _lists(table, name, path)]
    rows = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    flat = _flat([value for values in lists for value in values], f"{path}, column '{name}'")
    encoded = encode_ids(as_read(flat), f"{path}, column '{name}'", rows)
    ids = iter(encoded.ids.take(pa.array(encoded.codes)).to_pylist())
    return [[next(ids) for _ in values] for values in lists]


def feedback_column(
    table: pa.Table, name: str, path: Path, histories: Sequence[Sequence[str]]
) -> list[list[float]] | None:
    """A column of lists of numbers beside the histories, or None where there is no such column; NaN where a
    number is missing. Raises DataError naming the row where one is no finite number, or where lengths differ."""
    if name not in table.column_names:
        return None
    found = []
    for (row, values), history in zip(_lists(table, name, path), histories, strict=True):
        try:
            numbers = [math.nan if value in (None, "") else float(value) for value in values]
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}, row {row}, '{name}': {error}. Give numbers.") from error
        if any(math.isinf(number) for number in numbers):
            raise DataError(f"{path}, row {row}, '{name}': an infinite number. Give finite ones.")
        if len(numbers) != len(history):
            raise DataError(
                f"{path}, row {row}, '{name}': numbers for {len(numbers)} events beside a history of "
                f"{len(history)}. Give one an event."
            )
        found.append(numbers)
    return found


def write_answers(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table aside and give it its name when it is whole."""
    table = pa.table({name: _array(values) for name, values in columns.items()})
    aside = path.with_name(f".{path.name}.partial")
    try:
        match _kind(path):
            case ".csv" | ".tsv":
                options = pacsv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
                pacsv.write_csv(_joined(table), aside, options)
            case ".jsonl":
                lines = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
                aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            case _:
                pq.write_table(table, aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raises DataError before any work is done if answers could not be written there."""
    _kind(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder. Name a file for the answers.")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}. Make it, or name another file.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DataError(f"{path}: {path.parent} may not be written to. Name another file.")


def _kind(path: Path) -> str:
    if path.suffix not in KINDS:
        raise DataError(f"{path}: '{path.suffix}' files are not known here. Use {', '.join(KINDS)}.")
    return path.suffix


def _lists(table: pa.Table, name: str, path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Each row's number, from 1, and its list."""
    _refuse_missing(table, name, path)
    for row, value in enumerate(table.column(name).to_pylist(), start=1):
        yield row, _listed(value, path, row, name)


def _refuse_missing(table: pa.Table, name: str, path: Path) -> None:
    if name not in table.column_names:
        raise missing_column(name, table.column_names, str(path))


def _flat(ids: list[Any], place: str) -> pa.ChunkedArray:
    """The ids of all lists: floats, where all are, so that they are checked like a column of floats; else text."""
    kinds = {type(value) for value in ids if value is not None}
    if odd := next((kind for kind in kinds if kind not in (str, int, float)), None):
        raise DataError(f"{place}: a value of type {odd.__name__} is no id. Ids are text or whole numbers.")
    if kinds != {float}:
        ids = [value if value is None or isinstance(value, str) else str(value) for value in ids]
    return pa.chunked_array([pa.array(ids, pa.float64() if kinds == {float} else pa.string())])


def as_read(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as a csv file's column would be read, so that ids are the same ones wherever they are written."""
    return typed(column) if column.type == pa.string() and not column.null_count else column


def _listed(value: Any, path: Path, row: int, name: str) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        return [value]
    text = value.strip()
    if text.startswith("["):
        try:
            return list(json.loads(text))
        except ValueError as error:
            raise DataError(f"{path}, row {row}, '{name}': not a list in JSON: {error}. Mend the row.") from error
    return [part.strip() for part in text.split(SEPARATOR)] if text else []


def _array(values: Sequence[Any]) -> pa.Array:
    return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)


def _joined(table: pa.Table) -> pa.Table:
    """Lists as text: csv has none."""
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            texts = [SEPARATOR.join(map(str, value or [])) for value in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts))
    return table

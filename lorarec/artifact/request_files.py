"""Requests and answers in files: csv, tsv, jsonl or parquet, with the caller's own ids."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from lorarec.errors import DataError

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
SEPARATOR = "|"
"""Between the items of a history in csv and tsv files."""


def read_requests(path: Path) -> pa.Table:
    """The table in a file. Raises DataError if it is missing, of another kind, or cannot be read."""
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    try:
        match _kind(path):
            case ".csv" | ".tsv":
                table = _read_delimited(path, "\t" if path.suffix == ".tsv" else ",")
            case ".jsonl":
                table = pajson.read_json(path)
            case _:
                table = pq.read_table(path)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}. Mend the file; text must be UTF-8.") from error
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise DataError(f"{path}: the column '{name}' is there twice. Rename one of them.")
    if not table.num_rows:
        raise DataError(f"{path}: there are no rows. Give at least one below the column names.")
    return table


def _read_delimited(path: Path, delimiter: str) -> pa.Table:
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    read = pacsv.ReadOptions(use_threads=False)  # only then do errors name the row
    # Ids stay as they are written: "007" is not 7.
    with pacsv.open_csv(path, parse_options=parse, read_options=read) as file:
        names = file.schema.names
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return pacsv.read_csv(path, parse_options=parse, read_options=read, convert_options=convert)


def id_column(table: pa.Table, name: str, path: Path) -> list[str]:
    """A column of ids as strings. Raises DataError if it is missing or has gaps."""
    if name not in table.column_names:
        raise DataError(f"{path}: there is no column '{name}'. Columns: {', '.join(table.column_names)}.")
    values = table.column(name).to_pylist()
    for row, value in enumerate(values, start=1):
        if value is None or value == "":
            raise DataError(f"{path}, row {row}, '{name}': empty. Give an id.")
    return [_id(value) for value in values]


def list_column(table: pa.Table, name: str, path: Path) -> list[list[str]]:
    """A column of lists of ids: as such, as JSON, or joined by "|"; an empty field is an empty list.

    Raises DataError naming the row of a list that cannot be read, or that holds an empty id.
    """
    found = []
    for row, values in _lists(table, name, path):
        if any(value is None or value == "" for value in values):
            raise DataError(f"{path}, row {row}, '{name}': an id is empty. Give an id, or leave it out.")
        found.append([_id(value) for value in values])
    return found


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


def _id(value: Any) -> str:
    # Whole numbers that pandas widened to floats are the ids they were.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _lists(table: pa.Table, name: str, path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Each row's number, from 1, and its list."""
    if name not in table.column_names:
        raise DataError(f"{path}: there is no column '{name}'. Columns: {', '.join(table.column_names)}.")
    for row, value in enumerate(table.column(name).to_pylist(), start=1):
        yield row, _listed(value, path, row, name)


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

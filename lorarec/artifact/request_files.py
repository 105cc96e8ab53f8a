"""Requests and answers in files: csv, tsv, jsonl or parquet, with the caller's own ids."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
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
                options = pacsv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
                # Ids stay as they are written: "007" is not 7.
                names = pacsv.open_csv(path, parse_options=options).schema.names
                convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
                table = pacsv.read_csv(path, parse_options=options, convert_options=convert)
            case ".jsonl":
                table = pajson.read_json(path)
            case _:
                table = pq.read_table(path)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not table.num_rows:
        raise DataError(f"{path}: there are no rows.")
    return table


def id_column(table: pa.Table, name: str, path: Path) -> list[str]:
    """A column of ids as strings. Raises DataError if it is missing or has gaps."""
    if name not in table.column_names:
        raise DataError(f"{path}: there is no column '{name}'. Columns: {', '.join(table.column_names)}.")
    values = table.column(name).to_pylist()
    for row, value in enumerate(values, start=1):
        if value is None or value == "":
            raise DataError(f"{path}, row {row}, '{name}': empty. Give an id.")
    return [str(value) for value in values]


def list_column(table: pa.Table, name: str, path: Path) -> list[list[str]]:
    """A column of lists: as such, as JSON, or joined by "|"; an empty field is an empty list."""
    if name not in table.column_names:
        raise DataError(f"{path}: there is no column '{name}'. Columns: {', '.join(table.column_names)}.")
    return [_listed(value, path, row, name) for row, value in enumerate(table.column(name).to_pylist(), start=1)]


def number_lists(table: pa.Table, name: str, path: Path) -> list[list[float]] | None:
    """A column of lists of numbers, or None where there is no such column. Raises DataError naming the row."""
    if name not in table.column_names:
        return None
    found = []
    for row, values in enumerate(list_column(table, name, path), start=1):
        try:
            found.append([float(value) for value in values])
        except ValueError as error:
            raise DataError(f"{path}, row {row}, '{name}': {error}. Give numbers.") from error
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
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}.")


def _kind(path: Path) -> str:
    if path.suffix not in KINDS:
        raise DataError(f"{path}: '{path.suffix}' files are not known here. Use {', '.join(KINDS)}.")
    return path.suffix


def _listed(value: Any, path: Path, row: int, name: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [str(item) for item in value]
    text = str(value).strip()
    if text.startswith("["):
        try:
            return [str(item) for item in json.loads(text)]
        except ValueError as error:
            raise DataError(f"{path}, row {row}, '{name}': not a list in JSON: {error}.") from error
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def _array(values: Sequence[Any]) -> pa.Array:
    return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)


def _joined(table: pa.Table) -> pa.Table:
    """Lists as text: csv has none."""
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            texts = [SEPARATOR.join(map(str, value or [])) for value in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts))
    return table

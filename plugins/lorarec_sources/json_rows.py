"""Read json (a list of objects) and jsonl (one object a line) files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from lorarec.contracts import DataError
from lorarec_sources.arrow_file import arrow_file
from lorarec_sources.delimited import raise_not_utf8

ROWS = 20_000
"""Objects turned into Arrow at a time."""

Numbered = tuple[int, dict[str, Any]]


def read_json(path: Path) -> Dataset:
    """A .json or .jsonl file as a Dataset; a field that an object lacks is null.

    Raises DataError naming file and line (jsonl) or row (json): text that is not JSON, a value that is not an
    object, a field whose values are of several types, a file without rows, bytes that are not UTF-8.
    """
    return arrow_file([path], ["json"], lambda: _tables(path))


def json_list(path: Path) -> list[dict[str, Any]]:
    """The objects of a .json file, in memory. Raises DataError as `read_json` does."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise_not_utf8(path)
        raise
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}.") from error
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: holds one {_kind(rows)}, but a list of objects is wanted: [{{...}}, {{...}}]. "
            "For one object a line, name the file .jsonl."
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: a {_kind(row)}, but an object {{...}} is wanted.")
    return rows


def _objects(path: Path) -> Iterator[Numbered]:
    if path.suffix == ".json":
        yield from enumerate(json_list(path), start=1)
        return
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(path, number, line)
    except UnicodeDecodeError:
        raise_not_utf8(path)
        raise


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {number}, column {error.colno}: not JSON: {error.msg}. The line begins {line[:60]!r}."
        ) from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: a {_kind(row)}, but an object {{...}} is wanted.")
    return row


def _tables(path: Path) -> Iterator[pa.Table]:
    """The rows are read twice: once for a schema that suits all of them, once to be written."""
    schema = pa.schema([])
    for chunk in _chunks(path):
        schema = _wider(path, schema, chunk)
    if not schema.names:
        raise DataError(f"{path}: there are no rows in this file.")
    for chunk in _chunks(path):
        yield pa.Table.from_pylist([row for _, row in chunk], schema=schema)


def _chunks(path: Path) -> Iterator[list[Numbered]]:
    rows = _objects(path)
    while chunk := list(islice(rows, ROWS)):
        yield chunk


def _wider(path: Path, schema: pa.Schema, chunk: list[Numbered]) -> pa.Schema:
    names = dict.fromkeys(name for _, row in chunk for name in row)
    fields = []
    for name in names:
        values = [row.get(name) for _, row in chunk]
        known = schema.field(name).type if name in schema.names else pa.null()
        try:
            fields.append(pa.field(name, _common(known, pa.array(values).type)))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            _raise_odd_value(path, name, known, chunk)
            raise DataError(f"{path}: field {name!r}: {error}") from error
    return pa.unify_schemas([schema, pa.schema(fields)], promote_options="permissive")


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    both = [pa.schema([("value", one)]), pa.schema([("value", other)])]
    return pa.unify_schemas(both, promote_options="permissive").field("value").type


def _raise_odd_value(path: Path, name: str, known: pa.DataType, chunk: list[Numbered]) -> None:
    unit = "row" if path.suffix == ".json" else "line"
    for number, row in chunk:
        value = row.get(name)
        try:
            known = _common(known, pa.array([value]).type)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"{path}, {unit} {number}: field {name!r} is {value!r} here, but {known} before. "
                "A field must be of one type throughout."
            ) from error


def _kind(value: object) -> str:
    return {dict: "object", list: "list", str: "string", bool: "boolean"}.get(type(value), "number or null")

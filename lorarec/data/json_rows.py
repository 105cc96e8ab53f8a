"""Readers of json (a list of objects) and jsonl (one object per line) files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic_core import from_json

from lorarec.data import open_files
from lorarec.data.columns import common_type
from lorarec.data.ids import EXACT
from lorarec.data.open_files import (
    DETECT,
    MOST_COLUMNS,
    UTF8,
    ReadOptions,
    encoding_of,
    open_text,
    read_errors,
    refuse_nul,
    table_origin,
)
from lorarec.errors import DataError

ROWS = 20_000
"""Objects converted to Arrow at a time."""
LONGEST_LIST = 1 << 30
"""Characters of a list of objects, also after decompression."""
MOST_BLANKS = 1_000_000
"""Empty lines that may follow each other, also after decompression."""

Row = dict[str, Any]


class JsonFile(NamedTuple):
    """A json or jsonl file, and how it is read."""

    path: Path
    encoding: str
    lines: bool
    """One object per line, or a list of objects."""
    notes: tuple[str, ...]
    """What was detected."""


def json_file(path: Path, lines: bool, options: ReadOptions) -> JsonFile:
    """The form of a json or, with `lines`, jsonl file; a json file may have an object per line as well."""
    encoding = encoding_of(path, options)
    notes = [f"encoding: {encoding} (by its byte order mark)"] if encoding != UTF8 and not options.encoding else []
    if not lines and _has_objects_per_line(path, encoding):
        lines = True
        notes.append("one object per line (detected)")
    return JsonFile(path, encoding, lines, tuple(notes))


def json_tables(paths: Sequence[Path], lines: bool, options: ReadOptions = DETECT) -> Iterator[pa.Table]:
    """Lists of objects, or with `lines` one object per line, file by file; a field that an object lacks is null.

    A field is true or false, whole numbers, numbers, text, or a list of one of these. One whose values are of several
    kinds, or objects, is text: strings as they are, everything else as JSON; so an unused field never causes an error,
    and ids of both kinds stay as written. No library's table reader does so (docs/architecture.md). Files are read
    twice: for the types, and for the values.

    Raises DataError naming file and line (jsonl) or row (json): text that is not JSON, a value that is not an object,
    a file without rows, undecodable bytes.
    """
    files = [json_file(path, lines, options) for path in paths]
    kinds: dict[str, pa.DataType] = {}
    large: set[str] = set()
    for file in files:
        for chunk in _chunks(file):
            names = dict.fromkeys(name for row in chunk for name in row)
            if len(kinds.keys() | names) > MOST_COLUMNS:
                raise DataError(
                    f"{file.path}: more than {MOST_COLUMNS:,} different fields, which are the columns here."
                )
            for name in names:
                values = [row.get(name) for row in chunk]
                kinds[name] = common_type(kinds.get(name, pa.null()), _kind(values))
                large |= {name} if _beyond(values, EXACT - 1) else set()
    refuse_nul(paths[0], kinds)
    if not kinds:
        raise DataError(f"{table_origin(paths)}: there are no rows in this file.")
    schema = pa.schema([(name, _exact(kind, name in large)) for name, kind in kinds.items()])
    for file in files:
        for chunk in _chunks(file):
            yield pa.Table.from_arrays([_column(field, chunk) for field in schema], schema=schema)


def _has_objects_per_line(path: Path, encoding: str) -> bool:
    """Whether the first two lines of a json file begin with an object each."""
    with read_errors(path, encoding), open_text(path, encoding) as file:
        begins = [file.readline(open_files.BLOCK).lstrip()[:1] for _ in range(2)]
    return begins == ["{", "{"]


def _objects(file: JsonFile) -> Iterator[Row]:
    with read_errors(file.path, file.encoding), open_text(file.path, file.encoding) as text:
        if not file.lines:
            content = text.read(LONGEST_LIST + 1)
            if len(content) > LONGEST_LIST:
                raise DataError(
                    f"{file.path}: a list of more than {LONGEST_LIST >> 20:,} MiB, which is read as a whole. Write one "
                    "object per line, and name the file .jsonl."
                )
            yield from _listed(file.path, content)
            return
        number = last = 0
        while line := text.readline(open_files.BLOCK):
            number += 1
            if len(line) == open_files.BLOCK:
                raise DataError(f"{file.path}, line {number}: longer than {open_files.BLOCK >> 20} MiB. Split it.")
            if line.strip():
                last = number
                yield _object(file.path, number, line)
            elif number - last > MOST_BLANKS:
                raise DataError(f"{file.path}: more than {MOST_BLANKS:,} empty lines follow line {last}. Remove them.")


def _listed(path: Path, text: str) -> list[Row]:
    rows = _parsed(path, text, 1)
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: holds one {_named(rows)}, but must hold a list of objects: [{{...}}, {{...}}], or one object per "
            "line."
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: a {_named(row)}, but each row must be an object {{...}}.")
    return rows


def _object(path: Path, number: int, line: str) -> Row:
    row = _parsed(path, line, number)
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: a {_named(row)}, but each line must be an object {{...}}.")
    return row


def _parsed(path: Path, text: str, first: int) -> Any:
    """The value of a text that begins on line `first` of the file; whole numbers of any length keep their digits."""
    text = text.rstrip()
    try:
        return from_json(text, cache_strings="keys")
    except ValueError as error:
        what, _, position = str(error).rpartition(" at line ")
        line, byte = map(int, position.split(" column "))
        before = text.split("\n")[line - 1].encode()[:byte].decode(errors="ignore")
        raise DataError(
            f"{path}, line {first + line - 1}, column {len(before)}: not JSON that can be read: {what}, after "
            f"{before[-60:]!r}."
        ) from error


def _chunks(file: JsonFile) -> Iterator[list[Row]]:
    rows = _objects(file)
    while chunk := list(islice(rows, ROWS)):
        yield chunk


def _kind(values: Iterable[Any]) -> pa.DataType:
    """The type that holds all of these values."""
    values = list(values)
    types = set(map(type, values)) - {type(None)}
    if not types:
        return pa.null()
    if types == {bool}:
        return pa.bool_()
    if types == {int}:
        return pa.string() if _beyond(values, 2**63 - 1) else pa.int64()
    if types <= {int, float}:
        return pa.float64()
    if types == {list}:
        inner = list(chain.from_iterable(value for value in values if value is not None))
        return pa.string() if set(map(type, inner)) & {dict, list} else pa.list_(_kind(inner))
    return pa.string()


def _beyond(values: Sequence[Any], limit: int) -> bool:
    """Whether there is a whole number beyond the limit, also within a list."""
    for value in values:
        if type(value) is int and not -limit <= value <= limit:
            return True
        if type(value) is list and _beyond(value, limit):
            return True
    return False


def _exact(kind: pa.DataType, large: bool) -> pa.DataType:
    """Text, where float64 would make different whole numbers equal."""
    if pa.types.is_list(kind):
        return pa.list_(_exact(kind.value_type, large))
    return pa.string() if large and kind == pa.float64() else kind


def _column(field: pa.Field, chunk: list[Row]) -> pa.Array:
    values = [row.get(field.name) for row in chunk]
    if field.type == pa.string():
        values = [_text(value) for value in values]
    elif field.type == pa.list_(pa.string()):
        values = [None if value is None else [_text(element) for element in value] for value in values]
    return pa.array(values, field.type)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _named(value: object) -> str:
    return {dict: "object", list: "list", str: "string", bool: "boolean"}.get(type(value), "number or null")

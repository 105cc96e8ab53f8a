"""Request files: histories and items in csv, tsv, jsonl or parquet, with the caller's own ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, feedback_lists, is_list, missing_column
from lorarec.data.delimited import typed
from lorarec.data.file_rows import Rows
from lorarec.data.ids import encode_ids, id_texts, refuse_rounded
from lorarec.data.numbers import is_text, plain_column
from lorarec.data.open_files import format_of
from lorarec.data.own_lists import lists_of_numbers, texts_of_ids
from lorarec.data.tables import read_into_memory, reading_notes
from lorarec.data.text_lists import feedback_separator, separator_note, separator_of, text_lists
from lorarec.errors import DataError
from lorarec.inference.request_format import USUAL, RequestFormat

USER_PREFIX = "user."
"""Prefix of the columns that hold user attributes, as in a template: user.age."""


class FileRequests(NamedTuple):
    """Requests of a file, row by row, without the column `item`."""

    histories: list[list[str]] | None
    """Item ids, oldest first; None if there is no column `history`."""
    feedback: list[list[float]] | None
    """A number for each of them, NaN if it is missing; None if there is no column `history_feedback`."""
    users: list[dict[str, Any]] | None
    """Attributes of each user, by the names in `user_columns`; None for a run that reads no user columns."""
    notices: list[str]
    """Notices for the caller: columns that the run reads and the file lacks, and columns that it does not read."""


def read_requests(path: Path, form: RequestFormat = USUAL) -> tuple[pa.Table, list[str]]:
    """The table in a file, read as every source reads it, but not cached; and notices of how it was read. Columns of
    csv and tsv stay text, because they are written to the answers as they are. Raises DataError if the file is missing,
    of another format, or cannot be read."""
    text, options = format_of(path) in ("csv", "tsv"), form.options_for(path)
    table = read_into_memory(path, text=text, options=options)
    if not table.num_rows:
        raise DataError(f"{path} has no rows. Give at least one below the column names.")
    other = f"{path}: not UTF-8; read as {options.encoding}, as the training data is."
    return table, [*([other] if options.encoding else []), *reading_notes(path, options)]


def requests_in(
    table: pa.Table,
    path: Path,
    user_columns: Sequence[str],
    item_ids: Sequence[pa.Array] = (),
    form: RequestFormat = USUAL,
) -> FileRequests:
    """The histories, their feedback and the users of a request file that was read from `path`.

    `user_columns`: user columns that the run reads; `item_ids`: those of the catalog. Raises DataError naming row and
    column of a value that cannot be read.
    """
    users, notices = _users(table, path, user_columns)
    names = form.names(table.column_names)
    if names[HISTORY] not in table.column_names:
        return FileRequests(None, None, users, notices)
    histories, separator = list_column(table, names[HISTORY], path, item_ids)
    feedback: list[list[float]] | None = None
    numbers: tuple[str, ...] = ()
    if names[HISTORY_FEEDBACK] in table.column_names:
        feedback, numbers = feedback_column(table, names[HISTORY_FEEDBACK], path, histories, separator, form)
    notices = [*separator_note(f"{path}, column '{names[HISTORY]}'", separator), *numbers, *notices]
    return FileRequests(histories, feedback, users, notices)


def id_column(table: pa.Table, name: str, path: Path) -> list[str]:
    """A column of ids as strings. Raises DataError if it is missing or has gaps."""
    _refuse_missing(table, name, path)
    return id_texts(table.column(name), f"{path}, column '{name}'")


def list_column(
    table: pa.Table, name: str, path: Path, item_ids: Sequence[pa.Array] = ()
) -> tuple[list[list[str]], str | None]:
    """A column of lists of ids: lists, or text as in `text_lists`; an empty field is an empty list. And the separator
    of the text; `item_ids` are those of the catalog.

    Raises DataError naming the row of a list that cannot be read, or that holds an empty id.
    """
    separator = _separator(table, name, item_ids)
    lists = [values for _, values in _lists(table, name, path, separator)]
    rows = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    column = table.column(name)
    if is_list(column.type) and pa.types.is_floating(column.type.value_type):
        numbers = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
        refuse_rounded(numbers, f"{path}, column '{name}'", Rows(rows))
    flat = _flat([value for values in lists for value in values], f"{path}, column '{name}'")
    encoded = encode_ids(flat, f"{path}, column '{name}'", Rows(rows))
    ids = iter(encoded.ids.take(pa.array(encoded.codes)).to_pylist())
    return [[next(ids) for _ in values] for values in lists], separator


def feedback_column(
    table: pa.Table,
    name: str,
    path: Path,
    histories: Sequence[Sequence[str]],
    separator: str | None = None,
    form: RequestFormat = USUAL,
) -> tuple[list[list[float]], tuple[str, ...]]:
    """A column of lists of numbers or words for clicks, one for each item of the histories, NaN where one is missing;
    and what was detected. `separator` is that of the histories. Raises DataError naming the row of a value that is no
    finite number, and where lengths differ."""
    column, where = lists_of_numbers(table.column(name)), f"{path}, column '{name}'"
    if is_text(column.type):
        decimal = form.options.decimal
        column = text_lists(column, where, feedback_separator(column, separator, decimal), decimal=decimal)
    if column.null_count and is_list(column.type):
        column = pc.if_else(column.is_null(), pa.scalar([], column.type), column)
    offsets = np.cumsum([0, *map(len, histories)])
    lists, notes = feedback_lists(column, offsets, where, decimal=form.options.decimal, words=form.missing)
    return [list(values) for values in lists.to_pylist()], notes


def _users(table: pa.Table, path: Path, columns: Sequence[str]) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """The file's user attributes, and notices of user columns that are missing or that the run does not read."""
    read = {f"{USER_PREFIX}{name}": name for name in columns}
    missing = [column for column in read if column not in table.column_names]
    unread = [column for column in table.column_names if column.startswith(USER_PREFIX) and column not in read]
    notices = []
    if missing:
        notices.append(
            f"{path} has no column '{missing[0]}': users are read without it, though the run learned from it."
        )
    if unread:
        notices.append(f"{path}: the run does not read {', '.join(unread)}.")
    if not read:
        return None, notices
    values = {name: _as_read(table.column(c)).to_pylist() for c, name in read.items() if c in table.column_names}
    return [{name: column[row] for name, column in values.items()} for row in range(table.num_rows)], notices


def _separator(table: pa.Table, name: str, item_ids: Sequence[pa.Array]) -> str | None:
    if name not in table.column_names or not is_text(plain_column(table.column(name)).type):
        return None
    return separator_of(table.column(name), item_ids)


def _lists(table: pa.Table, name: str, path: Path, separator: str | None) -> Iterator[tuple[int, list[Any]]]:
    """The number of each row, from 1, and its list."""
    _refuse_missing(table, name, path)
    where = f"{path}, column '{name}'"
    column = texts_of_ids(plain_column(table.column(name)), where)
    if is_text(column.type):
        column = text_lists(column, where, separator)
    for row, value in enumerate(column.to_pylist(), start=1):
        yield row, [] if value is None else value if isinstance(value, list) else [value]


def _refuse_missing(table: pa.Table, name: str, path: Path) -> None:
    if name not in table.column_names:
        raise missing_column(name, table.column_names, str(path))


def _flat(ids: list[Any], column: str) -> pa.ChunkedArray:
    """The ids of all lists: floats if all are floats, so that they are checked like a column of floats; else text."""
    kinds = {type(value) for value in ids if value is not None}
    if odd := next((kind for kind in kinds if kind not in (str, int, float)), None):
        raise DataError(f"{column}: a value of type {odd.__name__} is not an id. Ids are text or whole numbers.")
    if kinds != {float}:
        ids = [value if value is None or isinstance(value, str) else str(value) for value in ids]
    return pa.chunked_array([pa.array(ids, pa.float64() if kinds == {float} else pa.string())])


def _as_read(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text read like a column of a csv file, so that attributes are the same in every file format."""
    return typed(column) if column.type == pa.string() and not column.null_count else column

"""Users: the columns of the users' table, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import USER, missing_column
from lorarec.data.ids import encode_distinct
from lorarec.data.item_table import as_words, id_column_of
from lorarec.data.numbers import is_missing, is_text
from lorarec.data.raw_tables import RawTables, as_arrow
from lorarec.errors import DataError

TRUTH = {"True": "true", "False": "false"}
"""Some files and requests have booleans, others text: both are read the same."""


class Users:
    """Some columns of U users. A user without a row has no value in any of them, which is not an error."""

    def __init__(self, table: pa.Table) -> None:
        """`table` [U] has the columns that are read, by user row; null where the value is unknown."""
        self.table = table

    def words(self, rows: np.ndarray) -> list[tuple[str, ...]]:
        """[n] the values of the users in these rows (-1: no user) as text, one per column; empty where unknown.

        Lists are joined by commas, and whole numbers that a file keeps as floats are written as whole numbers.
        """
        taken = self.table.take(pa.array(np.where(rows < 0, 0, rows), mask=rows < 0))
        return list(zip(*(map(_written, column.to_pylist()) for column in taken.columns), strict=True))


def users_of(raw: RawTables, names: Sequence[str], user_ids: pa.Array) -> tuple[Users | None, str]:
    """The columns `names`, which the backbone reads of the users' table, in the order of `user_ids`; and a sentence for
    the report. A table that is not read is mentioned, or refused if an option of the source names it.

    Raises DataError naming a missing column, with the most similar one, a user who is listed twice, and a table
    that has none of the users.
    """
    if not names:
        return None, _unread_table(raw)
    written = ", ".join(f"{{user.{name}}}" for name in names)
    if raw.users is None:
        raise DataError(
            f"backbone.templates name {written}, but {raw.origin} comes without a users' table. Give the source one, "
            "or leave it out of the template."
        )
    if raw.columns.get(USER, USER) not in raw.interactions.column_names:
        raise DataError(f"backbone.templates name {written}, but the rows of {raw.origin} have no user column.")
    users, without = _read(raw, as_arrow(raw.users), names, user_ids)
    count = len(user_ids)
    note = f"{written} of the users' table are read; {without:,} of {count:,} users have no row there"
    for name in names:
        if blank := _blanks(users.table.column(name)) - without:
            note += f", {blank:,} have a row without '{name}'"
    return users, note


def _blanks(column: pa.ChunkedArray) -> int:
    """How many rows have no value, or a blank text."""
    trimmed = pc.utf8_trim_whitespace(column) if is_text(column.type) else column
    return int(pc.sum(is_missing(trimmed)).as_py())


def users_of_requests(columns: Sequence[Mapping[str, Any] | None], names: Sequence[str]) -> Users:
    """The columns of the users of requests, row by row; None where a request has none. Raises DataError naming a column
    that the run does not read."""
    for row, given in enumerate(columns, start=1):
        for name in given or ():
            if name not in names:
                raise missing_column(name, names, f"users, row {row}", ", for the run reads no column of that name")
    words = [[None if given is None else _written(given.get(name)) for given in columns] for name in names]
    return Users(pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, words, strict=True)}))


def _unread_table(raw: RawTables) -> str:
    if raw.users is None:
        return ""
    note = (
        f"nothing reads the users' table ({', '.join(raw.users.column_names)}): templates of the backbone can, by "
        "{user.NAME}"
    )
    if raw.users_asked:
        remedy = "Name a column in backbone.templates.history or pair, or leave users out."
        raise DataError(f"{raw.origin}: {note}. {remedy}")
    return note


def _read(raw: RawTables, table: pa.Table, names: Sequence[str], user_ids: pa.Array) -> tuple[Users, int]:
    """The columns of the users, and the number of users without a row."""
    where = f"users' table of {raw.origin}"
    for name in names:
        if name not in table.column_names:
            what = f", which the backbone's templates write as {{user.{name}}}"
            raise missing_column(name, table.column_names, where, what)
    id_column = raw.user_id or id_column_of(table.column_names, raw.columns.get(USER, USER), USER, raw.origin)
    listed = encode_distinct(table.column(id_column), f"{where}, column '{id_column}'", "user", raw.user_rows)
    rows_of_users = pc.index_in(user_ids, value_set=listed.ids.cast(user_ids.type))
    if rows_of_users.null_count == len(user_ids):
        example = f" (it has '{listed.ids[0].as_py()}')" if len(listed.ids) else ""
        raise DataError(
            f"{where}: none of the users, such as '{user_ids[0].as_py()}', is in its column '{id_column}'{example}. "
            "Write the ids the same way in both files, or name the right column: data.user_id=NAME."
        )
    known = Users(table.select(list(names)).take(rows_of_users))
    return known, rows_of_users.null_count


def _written(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = as_words(value)
    return TRUTH.get(text, text)

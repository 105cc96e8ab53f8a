"""Users: what is known of the users beside their events, as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lorarec.data.columns import USER, missing_column
from lorarec.data.ids import encode_ids
from lorarec.data.item_text import written
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


TRUTH = {"True": "true", "False": "false"}
"""Some files keep them as values, others as text, and a run is asked by either."""


class Users:
    """Some columns of U users. A user of whom nothing is known has nothing in each of them: that is no error."""

    def __init__(self, table: pa.Table) -> None:
        """`table` [U] has the columns that are read, by user row; null where nothing is known."""
        self.table = table

    def words(self, rows: np.ndarray) -> list[tuple[str, ...]]:
        """[n] what is known of the users in these rows (-1: nobody), a word or text a column; empty where nothing is.

        Lists are joined by commas, and whole numbers that a file keeps as floats are written as whole numbers.
        """
        taken = self.table.take(pa.array(np.where(rows < 0, 0, rows), mask=rows < 0))
        return list(zip(*(map(_written, column.to_pylist()) for column in taken.columns), strict=True))


def users_of_table(
    raw: Dataset, user_ids: Sequence[str], names: Sequence[str], columns: Mapping[str, str], origin: str
) -> tuple[Users, int]:
    """The columns `names` of the users' table in the order of `user_ids`, and how many of these users have no row.

    The id's column has the name it has in the interactions, or lorarec's own. Raises DataError naming a column that is
    missing, with the nearest one, a user who is there twice, and a table that has none of the users.
    """
    table: pa.Table = raw.with_format("arrow")[:]
    place = f"users' table of {origin}"
    for name in names:
        if name not in table.column_names:
            what = f", which the backbone's templates write as {{user.{name}}}"
            raise missing_column(name, table.column_names, place, what)
    id_column = next((name for name in (columns.get(USER, USER), USER) if name in table.column_names), None)
    if id_column is None:
        what = ", which should hold the user's id"
        raise missing_column(columns.get(USER, USER), table.column_names, place, what)
    listed = encode_ids(table.column(id_column), f"{place}, column '{id_column}'")
    if len(listed.ids) < len(listed.codes):
        again = int(np.setdiff1d(np.arange(len(listed.codes)), np.unique(listed.codes, return_index=True)[1])[0])
        user = listed.ids[int(listed.codes[again])].as_py()
        raise DataError(f"{place}, row {again + 1}: user '{user}' is there again. Keep one row a user.")
    rows = {user: row for row, user in enumerate(listed.ids.to_pylist())}
    found = [rows.get(user) for user in user_ids]
    if all(row is None for row in found):
        example = f" (it has '{listed.ids[0].as_py()}')" if len(listed.ids) else ""
        raise DataError(
            f"{place}: none of the users, such as '{user_ids[0]}', is in its column '{id_column}'{example}. Write the "
            "ids the same way in both files, or name the right column: data.columns.user=NAME."
        )
    return Users(table.select(list(names)).take(pa.array(found, pa.int64()))), sum(row is None for row in found)


def users_of_requests(columns: Sequence[Mapping[str, Any] | None], names: Sequence[str]) -> Users:
    """What requests say of their users, row by row; None where one says nothing. Raises DataError naming a column that
    the run does not read."""
    for row, given in enumerate(columns, start=1):
        for name in given or ():
            if name not in names:
                raise missing_column(name, names, f"users, row {row}", ", for the run reads none of that name")
    words = [[None if given is None else _written(given.get(name)) for given in columns] for name in names]
    return Users(pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, words, strict=True)}))


def _written(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = written(value)
    return TRUTH.get(text, text)

"""`sequences`: one row per user, with a list of items, oldest first."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from lorarec.contracts import (
    DataError,
    DataSource,
    RawTables,
    StrictConfig,
    did_you_mean,
    hookimpl,
    is_list,
    read_table,
)
from lorarec_sources.paths import existing_file, existing_folder

EVAL_USERS = "eval_users"
"""The column that marks the users who are evaluated, for `data.split.users`."""


class SequencesSource(DataSource):
    """Turns each list into events in its order; they have no times."""

    name = "sequences"
    summary = "a table with one row per user: the list of the user's items, oldest first"

    class Config(StrictConfig):
        """A folder, and the names of its files; relative paths start at the working directory."""

        path: str
        """The folder of the files."""
        sequences: str = "sequences.parquet"
        """The table of users and their lists."""
        items: str | None = None
        """A table of items, for their texts."""
        user: str = "user_id"
        """Column of the user's id."""
        sequence: str = "items"
        """Column of the lists."""
        item: str = "item_id"
        """Column of the item's id in the table of items."""
        renamed: ClassVar = {"judged": "eval_users"}
        eval_users: str | None = None
        """A table of the users to evaluate: events then have a column `eval_users` that
        `data.split.users` can name."""

    config: Config

    def load(self) -> RawTables:
        """Events `user`, `item` and optionally `eval_users`. Raises DataError naming file, column and row."""
        config, folder = self.config, existing_folder(self.config.path)
        path = existing_file(folder / config.sequences)
        table = _arrow(path)
        users = _column(table, config.user, path)
        lists = _column(table, config.sequence, path).combine_chunks()
        _check_lists(lists, f"{path}, column '{config.sequence}'")
        of_row = pc.list_parent_indices(lists)
        events = {"user": users.take(of_row), config.item: pc.list_flatten(lists)}
        if config.eval_users is not None:
            other = existing_file(folder / config.eval_users)
            evaluated = _with_sequences(_column(_arrow(other), config.user, other), users, other)
            events[EVAL_USERS] = pc.is_in(users, value_set=evaluated).take(of_row)
        items = None if config.items is None else existing_file(folder / config.items)
        return RawTables(
            interactions=Dataset(pa.table(events)),
            items=None if items is None else read_table(items),
            columns={"user": "user", "item": config.item},
            origin=str(path),
            items_origin="" if items is None else str(items),
        )


def _arrow(path: Path) -> pa.Table:
    table: pa.Table = read_table(path).with_format("arrow")[:]
    return table


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        hint = did_you_mean(name, table.column_names)
        raise DataError(f"{path}: no column '{name}'.{hint} Columns: {', '.join(table.column_names)}.")
    return table.column(name)


def _check_lists(lists: pa.Array, location: str) -> None:
    if not is_list(lists.type):
        raise DataError(f"{location}: values of type {lists.type}; each row needs a list of item ids, oldest first.")
    if lists.null_count:
        row = pc.index(lists.is_null(), True).as_py() + 1
        raise DataError(f"{location}, row {row}: no list. Write an empty list for a user without events.")


def _with_sequences(evaluated: pa.ChunkedArray, users: pa.ChunkedArray, path: Path) -> pa.Array:
    """The evaluated users, cast to the type of `users`. Raises DataError if one of them has no sequence."""
    cast = evaluated.combine_chunks().cast(users.type)
    missing = pc.index(pc.is_in(cast, value_set=users.combine_chunks()), False).as_py()
    if missing >= 0:
        raise DataError(f"{path}, row {missing + 1}: user '{cast[missing]}' has no sequence. Remove the row.")
    return cast


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [SequencesSource]

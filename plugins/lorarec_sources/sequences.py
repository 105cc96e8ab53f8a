"""`sequences`: one row a user, with a list of items, oldest first."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, did_you_mean, hookimpl, read_table
from lorarec_sources.paths import existing_file, existing_folder

JUDGED = "judged"
"""The column that marks the users who are judged, for `data.split.users`."""


class SequencesSource(DataSource):
    """Turns each list into events, one after the other; nothing says when they were."""

    name = "sequences"
    summary = "a table of one row a user, with the list of the user's items, oldest first"

    class Config(StrictConfig):
        """A folder, and what in it is which; relative paths start at the working directory."""

        path: str
        """The folder that the files lie in."""
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
        judged: str | None = None
        """A table whose users are the ones to be judged: events then bear a column `judged` that
        `data.split.users` can name."""

    config: Config

    def load(self) -> RawTables:
        """Events `user`, `item` and perhaps `judged`. Raises DataError naming file, column and row."""
        config, folder = self.config, existing_folder(self.config.path)
        path = existing_file(folder / config.sequences)
        table = _arrow(path)
        users = _column(table, config.user, path)
        lists = _column(table, config.sequence, path).combine_chunks()
        _refuse_no_lists(lists, f"{path}, column '{config.sequence}'")
        of_row = pc.list_parent_indices(lists)
        events = {"user": users.take(of_row), config.item: pc.list_flatten(lists)}
        if config.judged is not None:
            judged = existing_file(folder / config.judged)
            chosen = pc.is_in(users, value_set=_known(_column(_arrow(judged), config.user, judged), users, judged))
            events[JUDGED] = chosen.take(of_row)
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


def _refuse_no_lists(lists: pa.Array, where: str) -> None:
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise DataError(f"{where}: values of type {lists.type}; each row needs a list of item ids, oldest first.")
    if lists.null_count:
        row = pc.index(lists.is_null(), True).as_py() + 1
        raise DataError(f"{where}, row {row}: no list. Write an empty one for a user without events.")


def _known(judged: pa.ChunkedArray, users: pa.ChunkedArray, path: Path) -> pa.Array:
    """The judged users, all of whom must have a sequence."""
    wanted = judged.combine_chunks().cast(users.type)
    missing = pc.index(pc.is_in(wanted, value_set=users.combine_chunks()), False).as_py()
    if missing >= 0:
        raise DataError(f"{path}, row {missing + 1}: user '{wanted[missing]}' has no sequence. Remove the row.")
    return wanted


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [SequencesSource]

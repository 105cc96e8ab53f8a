"""The tables that list items and users by their ids: which column has the ids, and rows without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from lorarec.config.recipe import DataSection
from lorarec.data.columns import ITEM, USER, missing_column
from lorarec.data.file_rows import Rows
from lorarec.data.item_table import id_column_of
from lorarec.data.numbers import is_missing, plain_column, refuse_missing
from lorarec.data.raw_tables import RawTables, as_arrow, in_memory
from lorarec.errors import DataError


def with_listed_ids(raw: RawTables, section: DataSection, users: bool) -> tuple[RawTables, dict[str, int]]:
    """The tables, in which each item, and with `users` each user, has an id, and the number of rows that were left out,
    by reason; words of `data.missing_values` are empty in both. `item_id` and `user_id` are set.

    Raises DataError naming file and row of a missing id, a column that a table lacks, and settings without a table.
    """
    for name, given, table in (("item_id", section.item_id, raw.items), ("user_id", section.user_id, raw.users)):
        if given is not None and table is None:
            raise DataError(f"data.{name}={given} does nothing here: {raw.origin} comes without such a table.")
    if raw.users is not None and raw.user_id is not None:
        _id_column(raw.users, "user", raw.user_id, USER, raw.origin)
    dropped: dict[str, int] = {}
    if raw.items is not None:
        origin = raw.items_origin or raw.origin
        column = _id_column(raw.items, "item", raw.item_id, raw.columns.get(ITEM, ITEM), origin)
        where = f"item table of {origin}, column '{column}'"
        items, rows = _listed(raw.items, column, where, raw.item_rows, section)
        dropped |= _counted("item table", column, len(raw.items) - len(items))
        raw = replace(raw, items=items, item_rows=rows, item_id=column)
    if raw.users is not None and users:
        column = _id_column(raw.users, "user", raw.user_id, raw.columns.get(USER, USER), raw.origin)
        where = f"users' table of {raw.origin}, column '{column}'"
        table, rows = _listed(raw.users, column, where, raw.user_rows, section)
        dropped |= _counted("users' table", column, len(raw.users) - len(table))
        raw = replace(raw, users=table, user_rows=rows, user_id=column)
    return raw, dropped


def _id_column(table: Dataset, kind: str, given: str | None, name: str, origin: str) -> str:
    """The column of ids: the one that is given, or of the name in the interactions, or lorarec's own."""
    if given is None:
        return id_column_of(table.column_names, name, kind, origin)
    if given not in table.column_names:
        raise missing_column(given, table.column_names, f"{kind} table of {origin}", f", which data.{kind}_id names")
    return given


def _listed(
    table: Dataset, column: str, where: str, rows: Rows | None, section: DataSection
) -> tuple[Dataset, Rows | None]:
    """The rows that have an id, and their numbers in the files."""
    words = section.missing_values if isinstance(section.missing_values, tuple) else ()
    arrow = as_arrow(table)
    if section.missing == "refuse":
        refuse_missing(arrow.column(column), where, rows, words)
    if words:
        table = in_memory({name: _blanked(arrow.column(name), words) for name in arrow.column_names})
    kept = np.flatnonzero(~is_missing(arrow.column(column), words).to_numpy())
    return (table, rows) if len(kept) == len(table) else (table.select(kept), (rows or Rows())[kept])


def _blanked(column: pa.ChunkedArray, words: tuple[str, ...]) -> pa.ChunkedArray:
    """A column of text or numbers without the words that stand for a missing value; others as they are."""
    if pa.types.is_nested(column.type):
        return column
    column = plain_column(column)
    return pc.if_else(is_missing(column, words), pa.scalar(None, column.type), column)


def _counted(table: str, column: str, count: int) -> dict[str, int]:
    return {f"no value in column '{column}' of the {table} (data.missing=drop)": count} if count else {}

"""RawTables: the tables of a source, and how they are checked and encoded."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from lorarec.data.catalog import Catalog
from lorarec.data.columns import (
    CLICK,
    HISTORY,
    HISTORY_FEEDBACK,
    ITEM,
    RATING,
    SPLIT,
    TIME,
    USER,
    WEIGHT,
    Lists,
    feedback_lists,
    item_lists,
    missing_column,
    numbers,
    read_lists,
    resolve_columns,
    seconds,
    weights,
)
from lorarec.data.ids import Encoded, encode_ids, merge_ids
from lorarec.data.item_table import declare, gaps, item_rows, listed_ids
from lorarec.data.parquet_table import ParquetTable
from lorarec.errors import DataError


@dataclass(frozen=True)
class RawTables:
    """Tables as a source reads them, with the source's own column names.

    `columns` maps the project's column names to the source's: {"user": "user_id", "item": "movie_id", "time":
    "timestamp", "rating": "stars"}; a recipe's `data.columns` overrides it. Names that lorarec knows: user, item,
    time, rating, click, event (its kind, which `data.events` explains), history (list of item ids, oldest first, where
    rows have their own), history_feedback (list of numbers, one per event), split (train, validation or test). For
    items: item (the id), and any text fields under their own names, for `data.item_text`. For users: user (the id),
    and any columns, for templates of the backbone as {user.NAME}.
    """

    interactions: Dataset | ParquetTable
    items: Dataset | None = None
    users: Dataset | None = None
    columns: dict[str, str] = field(default_factory=dict)
    item_text: str | None = None
    """The default template of this source, such as "{title} ({genres})"; a recipe's `data.item_text` overrides it."""
    origin: str = ""
    """Files or address read, for messages: "ratings.parquet"."""
    users_asked: bool = False
    """Whether an option of the source names the users' table, which is then refused if no template reads it. Else it is
    only mentioned in the data report."""
    items_origin: str = ""
    """The item table's own file, where it has one: messages about items name it instead of `origin`."""
    notes: tuple[str, ...] = ()
    """What was detected when the files were read, such as their separator; for the data report."""


@dataclass(frozen=True)
class NumberedTables:
    """Checked and encoded tables: all of `Interactions` except the split."""

    table: Dataset
    """As in `Interactions.table`, and the raw columns to keep."""
    user_ids: pa.Array
    """[U] original ids, as strings; "row-1", "row-2", ... where the data names no users (each row is then a user of its
    own)."""
    catalog: Catalog
    items_without_text: int
    """Number of items that only occur in interactions or histories: their text and title are their id."""
    empty_texts: int
    """Number of items of the item table whose text is empty: it is replaced by their id."""
    blanks: Mapping[str, int]
    """For each column of the text's template, the number of items in the item table without a value there, but with one
    in another column: their text has a gap."""


class _Events(NamedTuple):
    """The raw interactions, and the names of lorarec's columns in them."""

    table: pa.Table | ParquetTable
    columns: Mapping[str, str]
    """lorarec's name -> the table's."""
    origin: str

    def has(self, name: str) -> bool:
        return name in self.columns

    def column(self, name: str) -> pa.ChunkedArray:
        return self.table.column(self.columns[name])

    def ids(self, name: str) -> pa.ChunkedArray:
        """A column of ids, or of lists of them; texts may be dictionary-encoded."""
        if isinstance(self.table, ParquetTable):
            return self.table.column(self.columns[name], ids=True)
        return self.column(name)

    def where(self, name: str) -> str:
        """File and column, for messages."""
        return f"{self.origin}, column '{self.columns[name]}'"


def number_tables(
    raw: RawTables,
    keep: Sequence[str] = (),
    item_columns: Sequence[str] = (),
    unlisted: Literal["some", "all"] = "some",
) -> NumberedTables:
    """Check and encode a source's tables.

    `keep` names raw columns that the split needs, `item_columns` those of the item table by which the head compares
    items; `unlisted` says whether the item table may lack all items of the interactions. Users are encoded by first
    appearance; items in the order of the item table, then as they first appear.

    Raises DataError naming file, row and column of values that cannot be used.
    """
    events = _events(raw)
    users, user_ids = _users(events)
    histories = read_lists(events.ids(HISTORY), events.where(HISTORY)) if events.has(HISTORY) else None
    named = [encode_ids(events.ids(ITEM), events.where(ITEM))]
    if histories is not None:
        named.append(item_lists(histories, events.where(HISTORY)))
    items, origin = None if raw.items is None else as_arrow(raw.items), raw.items_origin or raw.origin
    name = raw.columns.get(ITEM, ITEM)
    declared = None if items is None else declare(items, name, raw.item_text, item_columns, origin)
    listed = listed_ids(items, "" if declared is None else declared.id_column, origin)
    codes, ids = merge_ids([listed, *named])
    if len(ids) < 2:
        raise DataError(f"{raw.origin}: the catalog has one item ({ids[0].as_py()!r}), so there is nothing to choose.")
    if declared is None:
        _refuse_item_settings(raw.item_text, item_columns, raw.origin)
    elif unlisted == "some":
        _refuse_other_items(listed, named, raw.origin, origin)
    columns = {USER: users, ITEM: pa.array(codes[1])} | _numbers(events)
    if histories is not None:
        columns |= _histories(events, histories, codes[2])
    columns |= _kept(events, [name for name in keep if name not in columns])
    catalog = Catalog(Dataset(item_rows(ids, items, declared, origin)), declared)
    empty, blanks = (0, {}) if declared is None else gaps(items, declared.pieces)
    return NumberedTables(in_memory(columns), user_ids, catalog, len(ids) - len(listed.ids), empty, blanks)


def in_memory(columns: Mapping[str, pa.Array]) -> Dataset:
    """A Dataset of these columns. Its fingerprint is drawn: `datasets` would hash a copy of all values."""
    return Dataset(pa.table(dict(columns)), fingerprint=uuid.uuid4().hex)


def as_arrow(rows: Dataset | ParquetTable) -> pa.Table:
    """The rows as an Arrow table, with their selection and order; without a copy of a Dataset where there is none."""
    if isinstance(rows, ParquetTable):
        return pa.table({name: rows.column(name) for name in rows.column_names})
    table: pa.Table = rows.with_format("arrow")[:]
    return table


def _events(raw: RawTables) -> _Events:
    table = raw.interactions if isinstance(raw.interactions, ParquetTable) else as_arrow(raw.interactions)
    if not table.num_rows:
        raise DataError(f"{raw.origin}: no rows. Give a file with at least one interaction.")
    return _Events(table, resolve_columns(table.column_names, raw.columns, raw.origin), raw.origin)


def _users(events: _Events) -> tuple[pa.Array, pa.Array]:
    """[E] the user of each row, and the ids of all [U]."""
    if not events.has(USER):
        rows = events.table.num_rows
        numbers = pa.array(np.arange(1, rows + 1)).cast(pa.large_string())
        row, dash = (pa.scalar(word, pa.large_string()) for word in ("row", "-"))
        return pa.array(np.arange(rows)), pc.binary_join_element_wise(row, numbers, dash)
    users = encode_ids(events.ids(USER), events.where(USER))
    return pa.array(users.codes), users.ids


def _numbers(events: _Events) -> dict[str, pa.Array]:
    """The available columns of numbers, checked."""
    readers = {TIME: seconds, RATING: numbers, CLICK: numbers, WEIGHT: weights}
    present = {name: read for name, read in readers.items() if events.has(name)}
    return {name: pa.array(read(events.column(name), events.where(name))) for name, read in present.items()}


def _histories(events: _Events, lists: Lists, items: np.ndarray) -> dict[str, pa.Array]:
    """The rows' own histories, of encoded items, and their feedback."""
    columns = {HISTORY: pa.LargeListArray.from_arrays(lists.offsets, pa.array(items))}
    if events.has(HISTORY_FEEDBACK):
        feedback, where = events.column(HISTORY_FEEDBACK), events.where(HISTORY_FEEDBACK)
        columns[HISTORY_FEEDBACK] = feedback_lists(feedback, lists, where)
    return columns


def _kept(events: _Events, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """The columns that the split needs, unchanged."""
    for name in names:
        if name not in events.table.column_names:
            raise missing_column(name, events.table.column_names, events.origin, ", which data.split names")
    split = {SPLIT: events.column(SPLIT)} if events.has(SPLIT) else {}
    return split | {name: events.table.column(name) for name in names if name not in split}


def _refuse_item_settings(template: str | None, item_columns: Sequence[str], origin: str) -> None:
    if template is not None:
        raise DataError(
            f"data.item_text '{template}': {origin} comes without an item table, so there is nothing "
            "to fill it with. Give the source an item table, or leave item_text out: items are then "
            "read as their ids."
        )
    if item_columns:
        raise DataError(f"head.item_columns: {origin} comes without an item table. Leave it out, or give one.")


def _refuse_other_items(listed: Encoded, sources: Sequence[Encoded], origin: str, items_origin: str) -> None:
    """Raise DataError where none of the items is in the item table, with a likely reason why the ids differ."""
    others, some = listed.ids.to_pylist(), list(dict.fromkeys(item for ids in sources for item in ids.ids.to_pylist()))
    if not set(others).isdisjoint(some):
        return
    causes: dict[str, Callable[[str], str]] = {
        "leading zeros are lost in one of them": lambda text: text.lstrip("0"),
        "one of them ends ids with .0": lambda text: text.removesuffix(".0"),
        "capital letters differ": str.casefold,
        "there are blanks around the ids of one": str.strip,
    }
    likely = next((cause for cause, plain in causes.items() if {*map(plain, some)} & {*map(plain, others)}), None)
    example = f", such as '{others[0]}'" if others else ""
    raise DataError(
        f"No item of {origin} (such as '{some[0]}') is in the item table of {items_origin}{example}"
        f"{f': {likely}' if likely else ''}. Write the ids the same way in both, name the right columns under "
        "data.columns, or read all items as their ids with data.unlisted_items=all."
    )

"""RawTables: the tables of a source, and how they are checked and encoded."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
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
    missing_column,
    resolve_columns,
)
from lorarec.data.file_rows import Rows, row_of
from lorarec.data.ids import Encoded, encode_ids, merge_ids
from lorarec.data.item_table import (
    Declared,
    declare,
    gaps,
    html_note,
    id_column_of,
    item_rows,
    listed_ids,
    plain_texts,
    text_note,
)
from lorarec.data.number_columns import read_column
from lorarec.data.numbers import is_text, refuse_missing
from lorarec.data.own_lists import OwnLists, own_lists
from lorarec.data.parquet_table import ParquetTable
from lorarec.data.spellings import other_spellings, two_spellings
from lorarec.errors import DataError

NO_WORDS: Mapping[str, Sequence[str]] = {}


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
    decimal: str | None = None
    """The decimal mark of numbers written as text, where it is set."""
    rows: Rows | None = None
    """[E] the rows in the files, where rows were left out or there are several files; messages name them."""
    item_rows: Rows | None = None
    user_rows: Rows | None = None
    """The same of the item and users' tables."""
    item_id: str | None = None
    """The item table's column of ids where it is not called as in the interactions; `data.item_id` overrides it."""
    user_id: str | None = None
    """The same of the users' table; `data.user_id` overrides it."""


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
    notes: tuple[str, ...] = ()
    """What was detected when columns were read, such as the order of day and month."""


class _Events(NamedTuple):
    """The raw interactions, and the names of lorarec's columns in them."""

    table: pa.Table | ParquetTable
    columns: Mapping[str, str]
    """lorarec's name -> the table's."""
    origin: str
    decimal: str | None
    rows: Rows | None

    def has(self, name: str) -> bool:
        return name in self.columns

    def column(self, name: str) -> pa.ChunkedArray:
        return self.table.column(self.columns[name])

    def ids(self, name: str) -> pa.ChunkedArray:
        """A column of ids, or of lists of them; texts may be dictionary-encoded."""
        if isinstance(self.table, ParquetTable):
            return self.table.column(self.columns[name], ids=True)
        return self.column(name)

    def encoded(self, name: str) -> Encoded:
        """A column of ids, encoded. Raises DataError as `encode_ids` does, and with the number of missing ones."""
        try:
            return encode_ids(self.ids(name), self.where(name), self.rows)
        except DataError:
            refuse_missing(self.column(name), self.where(name), self.rows)
            raise

    def where(self, name: str) -> str:
        """File and column, for messages."""
        return f"{self.origin}, column '{self.columns[name]}'"


def number_tables(
    raw: RawTables,
    keep: Sequence[str] = (),
    item_columns: Sequence[str] = (),
    unlisted: Literal["some", "all"] = "some",
    dates: str | None = None,
    html: Literal["keep", "strip"] = "keep",
    words: Mapping[str, Sequence[str]] = NO_WORDS,
) -> NumberedTables:
    """Check and encode a source's tables.

    `keep` names raw columns that the split needs, `item_columns` those of the item table by which the head compares
    items; `unlisted` says whether the item table may lack all items of the interactions; `words` stand for a missing
    value in the columns `history` and `history_feedback`. Users are encoded by first appearance; items in the order of
    the item table, then as they first appear.

    Raises DataError naming file, row and column of values that cannot be used.
    """
    events = _events(raw)
    users, user_ids = _users(events)
    items_of_rows = events.encoded(ITEM)
    _refuse_names(events, users, user_ids, items_of_rows)
    items = _listed_items(raw, item_columns, html)
    own = _own_lists(events, [items_of_rows.ids, items.listed.ids], words)
    codes, ids = merge_ids([items.listed, items_of_rows, *([] if own is None else [own.items])])
    if len(ids) < 2:
        raise DataError(f"{raw.origin}: the catalog has one item ({ids[0].as_py()!r}), so there is nothing to choose.")
    notes = items.notes + _spellings(events, user_ids, items, ids, codes[1:], unlisted)
    numbers, detected = _numbers(events, dates)
    columns = {USER: users, ITEM: pa.array(codes[1])} | numbers
    if own is not None:
        columns |= own.columns(codes[2])
        notes += own.notes
    columns |= _kept(events, [name for name in keep if name not in columns])
    catalog = Catalog(Dataset(item_rows(ids, items.table, items.declared, items.origin)), items.declared)
    empty, blanks = (0, {}) if items.declared is None else gaps(items.table, items.declared.pieces)
    without_text = len(ids) - len(items.listed.ids)
    return NumberedTables(in_memory(columns), user_ids, catalog, without_text, empty, blanks, (*detected, *notes))


class _Items(NamedTuple):
    """The item table, if there is one, as the catalog keeps it."""

    table: pa.Table | None
    declared: Declared | None
    listed: Encoded
    """Its ids; none without a table."""
    origin: str
    notes: tuple[str, ...] = ()


def _listed_items(raw: RawTables, item_columns: Sequence[str], html: Literal["keep", "strip"]) -> _Items:
    """Raises DataError for settings of items where there is no item table."""
    origin = raw.items_origin or raw.origin
    if raw.items is None:
        if html != "keep":
            raise DataError(f"data.item_text_html={html} does nothing here: {raw.origin} comes without an item table.")
        _refuse_item_settings(raw.item_text, item_columns, raw.origin)
        return _Items(None, None, listed_ids(None, "", origin), origin)
    table = as_arrow(raw.items)
    id_column = raw.item_id or id_column_of(table.column_names, raw.columns.get(ITEM, ITEM), ITEM, origin)
    declared = declare(table, id_column, raw.item_text, item_columns, origin)._replace(html=html)
    notes = html_note(table, declared, origin)
    if raw.item_text is None:
        notes += text_note(declared, origin)
    listed = listed_ids(table, id_column, origin, raw.item_rows)
    return _Items(plain_texts(table, declared), declared, listed, origin, notes)


def _spellings(
    events: _Events,
    user_ids: pa.Array,
    items: _Items,
    ids: pa.Array,
    used: Sequence[np.ndarray],
    unlisted: Literal["some", "all"],
) -> tuple[str, ...]:
    """Notes of items `ids` and users that may be spelled in two ways; `used` are the indices of the interactions' items
    in `ids`."""
    notes: tuple[str, ...] = ()
    if items.declared is None:
        notes = two_spellings(ids, events.where(ITEM))
    elif unlisted == "some":
        notes = other_spellings(ids, len(items.listed.ids), used, (events.origin, items.origin))
    return notes + (two_spellings(user_ids, events.where(USER)) if events.has(USER) else ())


def in_memory(columns: Mapping[str, pa.Array]) -> Dataset:
    """A Dataset of these columns. Its fingerprint is drawn: `datasets` would hash a copy of all values."""
    return Dataset(pa.table(dict(columns)), fingerprint=uuid.uuid4().hex)


def as_arrow(rows: Dataset | ParquetTable) -> pa.Table:
    """The rows as an Arrow table, with their selection and order; without a copy of a Dataset where there is none."""
    if isinstance(rows, ParquetTable):
        return pa.table({name: rows.column(name) for name in rows.column_names})
    table: pa.Table = rows.with_format("arrow")[:]
    return table


def column_of(rows: Dataset | ParquetTable, name: str, ids: bool = False) -> pa.ChunkedArray:
    """One column of the rows; with `ids`, texts may be dictionary-encoded."""
    if isinstance(rows, ParquetTable):
        return rows.column(name, ids=ids)
    return as_arrow(rows.select_columns([name])).column(name)


def _events(raw: RawTables) -> _Events:
    table = raw.interactions if isinstance(raw.interactions, ParquetTable) else as_arrow(raw.interactions)
    if not table.num_rows:
        raise DataError(f"{raw.origin}: no rows. Give a file with at least one interaction.")
    columns = resolve_columns(table.column_names, raw.columns, raw.origin)
    return _Events(table, columns, raw.origin, raw.decimal, raw.rows)


def _users(events: _Events) -> tuple[pa.Array, pa.Array]:
    """[E] the user of each row, and the ids of all [U]."""
    if not events.has(USER):
        rows = events.table.num_rows
        numbers = pa.array(np.arange(1, rows + 1)).cast(pa.large_string())
        row, dash = (pa.scalar(word, pa.large_string()) for word in ("row", "-"))
        return pa.array(np.arange(rows)), pc.binary_join_element_wise(row, numbers, dash)
    users = events.encoded(USER)
    return pa.array(users.codes), users.ids


def _refuse_names(events: _Events, users: pa.Array, user_ids: pa.Array, items: Encoded) -> None:
    """Raise DataError for a line of names within the files, which joined files have."""
    if not events.has(USER):
        return
    user = pc.index(user_ids, pa.scalar(events.columns[USER], user_ids.type)).as_py()
    item = pc.index(items.ids, pa.scalar(events.columns[ITEM], items.ids.type)).as_py()
    if user < 0 or item < 0:
        return
    rows = np.flatnonzero((users.to_numpy() == user) & (items.codes == item))
    if len(rows):
        raise DataError(
            f"{events.origin}, row {row_of(int(rows[0]), events.rows)}: the names of the columns instead of values, as "
            "joined files have them. Remove such rows."
        )


def _numbers(events: _Events, dates: str | None) -> tuple[dict[str, pa.Array], tuple[str, ...]]:
    """The available columns of numbers, checked, and what was detected in them."""
    columns: dict[str, pa.Array] = {}
    notes: list[str] = []
    if dates is not None and not events.has(TIME):
        raise DataError(f"data.dates={dates} does nothing here: {events.origin} has no column of times. Leave it out.")
    for name in (TIME, RATING, CLICK, WEIGHT):
        if events.has(name):
            read = read_column(name, events.column(name), events.where(name), events.rows, dates, events.decimal)
            columns[name] = pa.array(read.values)
            notes += read.notes
    return columns, tuple(notes)


def _own_lists(events: _Events, item_ids: Sequence[pa.Array], words: Mapping[str, Sequence[str]]) -> OwnLists | None:
    """The rows' own histories, if they have any."""
    if not events.has(HISTORY):
        return None
    names = [name for name in (HISTORY, HISTORY_FEEDBACK) if events.has(name)]
    kinds = {name: events.table.schema.field(events.columns[name]).type for name in names}
    # Texts that are whole lists hardly repeat: a dictionary of them would only take memory.
    columns = {
        events.where(name): events.column(name) if is_text(kind) else events.ids(name) for name, kind in kinds.items()
    }
    item_type = events.table.schema.field(events.columns[ITEM]).type
    missing = [words.get(name, ()) for name in (HISTORY, HISTORY_FEEDBACK)]
    return own_lists(columns, item_ids, item_type, events.rows, events.decimal, missing)


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

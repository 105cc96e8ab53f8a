"""Rows that settings leave out before the split: missing values, duplicates, rare users and items.

In this order, each on the rows that the one before kept; rows keep their order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.config.recipe import DataSection, MinEvents
from lorarec.data.columns import (
    CLICK,
    EVENT,
    HISTORY,
    ITEM,
    RATING,
    TIME,
    USER,
    WEIGHT,
    resolve_columns,
)
from lorarec.data.events import EventKinds, Meaning
from lorarec.data.file_rows import Rows, row_of
from lorarec.data.ids import encode_ids
from lorarec.data.missing_words import missing_words, refuse_unread_words, with_words
from lorarec.data.number_columns import read_column
from lorarec.data.numbers import (
    is_missing,
    is_text,
    numbers_of_words,
    plain_column,
    refuse_missing,
)
from lorarec.data.raw_tables import RawTables, as_arrow, column_of, in_memory
from lorarec.errors import DataError


class Cleaned(NamedTuple):
    """The tables without the rows that are left out."""

    raw: RawTables
    kinds: EventKinds | None
    dropped: dict[str, int]
    """Number of rows left out, by reason."""


def clean(raw: RawTables, kinds: EventKinds | None, section: DataSection) -> Cleaned:
    """Leave rows out by `data.missing`, `data.duplicates` and `data.min_events`; rows of ignored kinds stay.

    Raises DataError where a setting cannot be applied, or leaves nothing.
    """
    declared = section.missing_values is not None
    if section.missing == "refuse" and not declared and section.duplicates == "keep" and section.min_events is None:
        return Cleaned(raw, kinds, {})
    dropped: dict[str, int] = {}
    unread = () if kinds is None else kinds.unread
    named = {name: column for name, column in raw.columns.items() if column not in unread}
    columns = resolve_columns([n for n in raw.interactions.column_names if n not in unread], named, raw.origin)
    refuse_unread_words(section, columns, unread, raw)
    if section.missing == "drop" or declared:
        raw, kinds, counts = _without_missing(raw, kinds, columns, section)
        dropped |= counts
    if section.duplicates != "keep" or section.min_events is not None:
        _refuse_own_histories(columns, section, raw.origin)
        events = _Events.of(raw, kinds, columns, section)
        kept = np.ones(len(events.rows), bool)
        if section.duplicates != "keep":
            first = events.first_equal()
            kept = first == np.arange(len(first))
            dropped |= events.count_repeats(first, section.duplicates)
            if section.duplicates == "sum" and not kept.all():
                raw = _weighed(raw, events, first)
        if section.min_events is not None:
            limits = _limits(section.min_events)
            enough = _frequent(events, kept, limits, raw.origin)
            reason = f"their user has fewer than {limits.user} events or their item fewer than {limits.item}"
            dropped |= _counted(f"{reason} (data.min_events)", int((kept & ~enough).sum()))
            kept = enough
        raw, kinds = _selected(raw, kinds, np.delete(np.arange(len(raw.interactions)), events.rows[~kept]))
    return Cleaned(raw, kinds, dropped)


def with_kinds(raw: RawTables, section: DataSection) -> tuple[RawTables, dict[str, int]]:
    """The tables without the rows that name no kind of event, and their number, by reason. Raises DataError naming the
    rows unless `data.missing` drops them."""
    name = raw.columns.get(EVENT, EVENT)
    if name not in raw.interactions.column_names:
        return raw, {}
    column, words = column_of(raw.interactions, name, ids=True), missing_words(section, EVENT)
    is_encoded = pa.types.is_dictionary(column.type)
    values = pa.chunked_array([chunk.dictionary for chunk in column.chunks]) if is_encoded else column
    if not column.null_count and not pc.any(is_missing(values, words)).as_py():  # most data, without a copy of a column
        return raw, {}
    if section.missing == "refuse":
        refuse_missing(column, f"{raw.origin}, column '{name}'", raw.rows, words)
    missing = is_missing(column, words).to_numpy()
    raw, _ = _selected(raw, None, np.flatnonzero(~missing))
    return raw, _counted(f"no value in column '{name}' (data.missing=drop)", int(missing.sum()))


class _Events(NamedTuple):
    """The n rows that count, encoded."""

    rows: np.ndarray
    """[n] int64 their indices in the table."""
    user: np.ndarray
    item: np.ndarray
    other: dict[str, np.ndarray]
    """[n] time and kind, where there are any."""
    labels: dict[str, np.ndarray]
    """[n] rating and click, where there are any."""
    weight: np.ndarray
    """[n] 1 where there is no weight."""
    liked: np.ndarray
    """[n] bool, true for positive kinds and where there are no kinds."""
    where: str
    in_files: Rows | None
    """[n] the same in the files, as in `row_of`."""

    @classmethod
    def of(cls, raw: RawTables, kinds: EventKinds | None, columns: dict[str, str], section: DataSection) -> _Events:
        used = raw.interactions
        rows = np.arange(len(used)) if kinds is None else np.flatnonzero(kinds.meaning > Meaning.IGNORED)
        used = used if kinds is None else used.select(rows)
        in_files = (raw.rows or Rows())[rows]

        def numbers(name: str) -> np.ndarray:
            column = column_of(used, columns[name])
            return read_column(name, column, where(name), in_files, section.dates, raw.decimal).values

        def where(name: str) -> str:
            return f"{raw.origin}, column '{columns[name]}'"

        user, item = (
            encode_ids(column_of(used, columns[name], ids=True), where(name), in_files).codes for name in (USER, ITEM)
        )
        other = {TIME: numbers(TIME)} if TIME in columns else {}
        if kinds is not None:
            other["kind"] = kinds.kind[rows]
        labels = {name: numbers(name) for name in (RATING, CLICK) if name in columns}
        weight = numbers(WEIGHT) if WEIGHT in columns else np.ones(len(rows))
        liked = np.ones(len(rows), bool) if kinds is None else kinds.meaning[rows] == Meaning.POSITIVE
        return cls(rows, user, item, other, labels, weight, liked, raw.origin, in_files)

    def first_equal(self) -> np.ndarray:
        """[n] int64 the first row of the same user, item, time and kind."""
        keys = [*self.other.values(), self.item, self.user]
        order = np.lexsort(keys)
        is_new = np.zeros(len(order), bool)
        is_new[:1] = True
        for key in keys:
            is_new[1:] |= key[order][1:] != key[order][:-1]
        first = np.empty(len(order), np.int64)
        first[order] = order[is_new][np.cumsum(is_new) - 1]
        return first

    def count_repeats(self, first: np.ndarray, how: str) -> dict[str, int]:
        """The number of rows that repeat another one, by reason. Raises DataError where rows to add up disagree."""
        repeats = first != np.arange(len(first))
        differ = np.zeros(len(first), bool)
        for name, values in self.labels.items():
            differ |= values != values[first]
            if how == "sum" and differ.any():
                index = int(np.argmax(differ))
                one, other = row_of(int(first[index]), self.in_files), row_of(index, self.in_files)
                raise DataError(
                    f"{self.where}: rows {one} and {other} are the same event with a {name} of "
                    f"{values[first[index]]:g} and {values[index]:g}, which cannot be added up. Set "
                    "data.duplicates=drop to keep the first one."
                )
        what = "repeat user, item" + "".join(f", {name}" for name in self.other) + " of an earlier row"
        if how == "sum":
            return _counted(f"{what}, which has their weight (data.duplicates=sum)", int(repeats.sum()))
        unlike = f", {int(differ.sum()):,} of them with another label" if differ.any() else ""
        return _counted(f"{what}{unlike} (data.duplicates=drop)", int(repeats.sum()))


def _without_missing(
    raw: RawTables, kinds: EventKinds | None, columns: dict[str, str], section: DataSection
) -> tuple[RawTables, EventKinds | None, dict[str, int]]:
    rows = len(raw.interactions)
    used = np.ones(rows, bool) if kinds is None else kinds.meaning > Meaning.IGNORED
    kept, counts = np.ones(rows, bool), dict[str, int]()
    for name in (USER, ITEM, TIME, RATING, CLICK, WEIGHT):
        if name in columns:
            column = plain_column(column_of(raw.interactions, columns[name]))
            if name not in (USER, ITEM) and is_text(column.type):
                column = pc.utf8_trim_whitespace(column)
            words, where = missing_words(section, name), f"{raw.origin}, column '{columns[name]}'"
            if name in (RATING, CLICK, WEIGHT) and is_text(column.type) and numbers_of_words(words, pa.float64()):
                column = with_words(column, used & kept, name, where, raw, section)
            if section.missing == "refuse":
                refuse_missing(column.filter(pa.array(used)), where, (raw.rows or Rows())[np.flatnonzero(used)], words)
            missing = used & kept & is_missing(column, words).to_numpy()
            counts |= _counted(f"no value in column '{columns[name]}' (data.missing=drop)", int(missing.sum()))
            kept &= ~missing
    if not (kept & used).any():
        raise DataError(f"{raw.origin}: data.missing=drop leaves no row.")
    if kept.all():
        return raw, kinds, counts
    return *_selected(raw, kinds, np.flatnonzero(kept)), counts


def _weighed(raw: RawTables, events: _Events, first: np.ndarray) -> RawTables:
    """The table with a column of weights: of each event the sum of its rows' weights."""
    weight = np.zeros(len(raw.interactions))
    weight[events.rows] = np.bincount(first, events.weight, minlength=len(first))
    name = raw.columns.get(WEIGHT, "summed_weight")
    table = as_arrow(raw.interactions)
    columns = {column: table.column(column) for column in table.column_names}
    interactions = in_memory(columns | {name: pa.array(weight)})
    return replace(raw, interactions=interactions, columns={**raw.columns, WEIGHT: name})


def _frequent(events: _Events, kept: np.ndarray, limits: MinEvents, origin: str) -> np.ndarray:
    """[n] the rows of users and items that have enough events among these rows: the k-core, by rounds until no more
    are left out."""
    kept = kept.copy()
    while True:
        counted = kept & events.liked
        users = np.bincount(events.user[counted], minlength=int(events.user.max()) + 1)
        items = np.bincount(events.item[counted], minlength=int(events.item.max()) + 1)
        rare = kept & ((users[events.user] < limits.user) | (items[events.item] < limits.item))
        if not rare.any():
            break
        kept &= ~rare
    if not kept.any():
        raise DataError(
            f"{origin}: data.min_events={{user: {limits.user}, item: {limits.item}}} leaves no row. Lower it."
        )
    return kept


def _selected(raw: RawTables, kinds: EventKinds | None, rows: np.ndarray) -> tuple[RawTables, EventKinds | None]:
    in_files = (raw.rows or Rows())[rows]
    raw = replace(raw, interactions=raw.interactions.select(rows), rows=in_files)
    return raw, None if kinds is None else replace(kinds, kind=kinds.kind[rows])


def _refuse_own_histories(columns: dict[str, str], section: DataSection, origin: str) -> None:
    setting = "duplicates" if section.duplicates != "keep" else "min_events"
    if HISTORY in columns or USER not in columns:
        raise DataError(
            f"data.{setting} does nothing here: the rows of {origin} come with their own histories, so that each is an "
            "example of its own. Leave it out."
        )


def _limits(given: int | MinEvents) -> MinEvents:
    return MinEvents(user=given, item=given) if isinstance(given, int) else given


def _counted(reason: str, count: int) -> dict[str, int]:
    return {reason: count} if count else {}

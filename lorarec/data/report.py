"""DataReport: counts of the prepared data, shown before training and kept in the run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.config.recipe import Seen
from lorarec.data.catalog import Catalog
from lorarec.data.columns import CLICK, HISTORY, HISTORY_FEEDBACK, RATING, TIME, WEIGHT
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.ordering import blocks, changes
from lorarec.data.raw_tables import NumberedTables
from lorarec.data.repeated import repeated_line
from lorarec.data.statistics import Statistics
from lorarec.data.users import Users
from lorarec.errors import counted

YEAR_1980 = 315_532_800
YEAR_2100 = 4_102_444_800


@dataclass(frozen=True)
class DataReport:
    """Counts of a prepared data set; rows that were left out and why; a fingerprint of the split."""

    origin: str
    split_by: str
    rows: int
    parts: dict[str, int]
    """Rows of train, validation and test."""
    users: int
    items: int
    """Of the catalog."""
    density: float
    """Distinct (user, item) pairs divided by those of all users and all items with events."""
    first_time: float | None
    last_time: float | None
    """Seconds, as in the data; None without a time column."""
    cold_users: dict[str, float]
    cold_items: dict[str, float]
    """Share of the rows of validation and test whose user or item has no training row; they stay in."""
    users_only_in_training: int
    """Users with training rows and none held out (split by last: those with fewer than three events)."""
    items_without_text: int
    """Number of items that the item table lacks: their text is their id."""
    empty_texts: int
    """Number of items whose text is empty: it is replaced by their id."""
    blank_fields: dict[str, int]
    """For each column of the items' text, the number of items without a value there, but with one in another column."""
    dropped: dict[str, int]
    """Number of rows in no part, by reason."""
    history_min: int
    history_median: float
    history_max: int
    """Lengths of the histories of all rows in some part."""
    liked_above: float
    without_history: int
    """Rows in some part whose user has no earlier event."""
    fingerprint: str
    """SHA-256 of every row's part, user, item, time, feedback and history, in table order, and of the items'
    texts."""
    kinds: tuple[dict[str, Any], ...] = ()
    """Where the data have kinds of events: of each its name, meaning, rows in total and of each part, and their use."""
    unread: tuple[str, ...] = ()
    """Columns that are not read because kinds define what was liked and clicked."""
    users_note: str = ""
    """Which columns of the users' table are read, if any; empty where there is no table."""
    items_with_events: int = 0
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    """For each of rating and click that the data have, min, max, mean and the number of distinct values (up to 101), of
    the rows in some part."""
    repeated: dict[str, int] = field(default_factory=dict)
    """Where items are ranked, the number of targets of validation and test that their user had before."""
    seen: Seen = "mask"
    """Whether such targets are left out of the ranking (`evaluate.seen`)."""
    notes: tuple[str, ...] = ()
    """Notes of the backbone on the items, for instance on truncated texts."""
    detected: tuple[str, ...] = ()
    """What was detected when files and columns were read, such as separators and the order of day and month."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and dicts, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people to read, line by line; warnings whose count is 0 are left out."""
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parts.items())
        others = "" if self.items == self.items_with_events else f"; the catalog has {self.items:,} items"
        lines = [
            f"{self.origin}: {self.rows:,} rows of {self.users:,} users and {self.items_with_events:,} items "
            f"(density {self.density:.2%}){others}",
            f"split by {self.split_by}: {parts}",
        ]
        lines += [
            f"kind '{kind['kind']}' ({kind['meaning']}): {kind['rows']:,} rows, of which train {kind['train']:,}, "
            f"validation {kind['validation']:,}, test {kind['test']:,}; {kind['use']}"
            for kind in self.kinds
        ]
        if self.first_time is not None and self.last_time is not None:
            lines.append(f"time from {_date(self.first_time)} to {_date(self.last_time)}")
        lines += [_label_line(name, label) for name, label in self.labels.items()]
        lines.append(
            f"history of {self.history_min} to {self.history_max} events, median {self.history_median:g}; "
            f"liked is feedback above {self.liked_above:g}"
        )
        for part, share in self.cold_users.items():
            lines.append(f"{part}: {share:.1%} of rows have a new user, {self.cold_items[part]:.1%} a new item")
        counts = {
            "rows have an empty history": self.without_history,
            "users have no row outside training": self.users_only_in_training,
        }
        lines += [counted(count, what) for what, count in counts.items() if count]
        lines += filter(None, (repeated_line(self.repeated, self.parts, self.seen), self.users_note))
        lines += self.warnings()
        lines.append(f"fingerprint of the split: {self.fingerprint[:16]}")
        return lines

    def warnings(self) -> list[str]:
        """Data that is not read as it is, such as empty texts; training shows it, too."""
        unlisted = "items are not in the item table and are read as their ids"
        if self.items_without_text == self.items:
            unlisted = "items, all of them, are read as their ids"
        counts = {
            unlisted: self.items_without_text,
            "items have an empty text and are read as their ids": self.empty_texts,
        }
        lines = [counted(count, what) for what, count in counts.items() if count]
        lines += [
            counted(count, f"items have nothing for {{{name}}} in their text")
            for name, count in self.blank_fields.items()
        ]
        lines += [f"{counted(count, 'rows are left out')}: {why}" for why, count in self.dropped.items()]
        lines += [f"column '{name}' is not read: data.events says what was liked and clicked" for name in self.unread]
        lines += self.detected
        return [*lines, *self.notes]


def report_of(
    interactions: Interactions,
    numbered: NumberedTables,
    histories: Histories,
    seen_in_training: tuple[np.ndarray, np.ndarray],
    origin: str,
    split_by: str,
    users_table: Users | None = None,
) -> DataReport:
    """Count a prepared data set; `seen_in_training`: the number of training rows of each user [U] and item [N]."""
    user, item, time = interactions.user, interactions.item, interactions.time
    part, use = interactions.part, interactions.use
    user_counts, item_counts = seen_in_training
    users, items = len(user_counts), len(item_counts)
    with_events = int(np.count_nonzero(np.bincount(item, minlength=items)))
    return DataReport(
        origin=origin,
        split_by=split_by,
        rows=len(interactions) if use is None else use.rows(),
        parts={p.name.lower(): int((part == p).sum()) for p in Part if p is not Part.UNUSED},
        users=users,
        items=items,
        density=_distinct_pairs(user, item, items) / (users * with_events),
        items_with_events=with_events,
        labels=_labels(interactions),
        first_time=None if time is None else float(time.min()),
        last_time=None if time is None else float(time.max()),
        cold_users=_cold(user, user_counts, part),
        cold_items=_cold(item, item_counts, part),
        users_only_in_training=users - int(np.count_nonzero(np.bincount(user[part >= Part.VALIDATION]))),
        items_without_text=numbered.items_without_text,
        empty_texts=numbered.empty_texts,
        blank_fields=dict(numbered.blanks),
        dropped=dict(interactions.dropped),
        **_lengths(histories, part),
        liked_above=histories.liked_above,
        kinds=() if use is None else tuple(use.counts(part, interactions.has(HISTORY))),
        unread=() if use is None else use.kinds.unread,
        fingerprint=split_fingerprint(interactions, numbered.catalog, users_table),
    )


def _labels(interactions: Interactions) -> dict[str, dict[str, float]]:
    """The statistics of the labels, of the rows in some part."""
    labels, used = {}, interactions.part != Part.UNUSED
    for name in (RATING, CLICK):
        if interactions.has(name):
            values = interactions.table.data.column(name)
            values = values if used.all() else values.filter(pa.array(used))
            limits = pc.min_max(values).as_py()
            labels[name] = {**limits, "mean": pc.mean(values).as_py(), "distinct": _distinct(values)}
    return labels


def _distinct(values: pa.ChunkedArray) -> int:
    """The number of distinct values, up to MOST_VALUES + 1: of times spent there are as many as rows."""
    distinct = pa.array([], values.type)
    for block in blocks(len(values), 64):
        more = values.slice(block.start, block.stop - block.start).unique()
        distinct = pa.concat_arrays([distinct, more]).unique()
        if len(distinct) > Statistics.MOST_VALUES:
            return Statistics.MOST_VALUES + 1
    return len(distinct)


def _label_line(name: str, label: Mapping[str, float]) -> str:
    if name == CLICK and label["min"] >= 0 and label["max"] <= 1 and label["distinct"] <= 2:
        return f"click: {label['mean']:.2%} of rows are 1"
    count = int(label["distinct"])
    values = f"{count:,} different values" if count > 1 else "one value"
    values = f"more than {Statistics.MOST_VALUES} values" if count > Statistics.MOST_VALUES else values
    return f"{name} from {label['min']:g} to {label['max']:g}, {values}, mean {label['mean']:.3g}"


def _lengths(histories: Histories, part: np.ndarray) -> dict[str, Any]:
    """The statistics of the lengths of histories, of the rows in some part."""
    counts = np.zeros(1, np.int64)
    for block in blocks(len(part)):
        more = np.bincount(histories.lengths(block.start + np.flatnonzero(part[block] != Part.UNUSED)))
        counts, more = (counts, more) if len(counts) >= len(more) else (more, counts)
        counts[: len(more)] += more
    present, total = np.flatnonzero(counts), np.cumsum(counts)
    middle = np.searchsorted(total, [(total[-1] + 1) // 2, total[-1] // 2 + 1])
    return {
        "history_min": int(present[0]),
        "history_median": float(middle.mean()),
        "history_max": int(present[-1]),
        "without_history": int(counts[0]),
    }


def _cold(of_row: np.ndarray, counts: np.ndarray, part: np.ndarray) -> dict[str, float]:
    """The share of each held-out part's rows whose user, or item, has no training row."""
    held_out = [p for p in (Part.VALIDATION, Part.TEST) if (part == p).any()]
    return {p.name.lower(): float((counts[of_row[part == p]] == 0).mean()) for p in held_out}


def split_fingerprint(interactions: Interactions, catalog: Catalog, users: Users | None = None) -> str:
    """SHA-256 of the data that a model is trained and evaluated on: the same in every run and process."""
    digest = hashlib.sha256()
    _add(digest, interactions.part, "<i1")
    _add(digest, interactions.user, "<i8")
    _add(digest, interactions.item, "<i8")
    for name in (TIME, RATING, CLICK, WEIGHT):
        if interactions.has(name):
            digest.update(name.encode())
            _add(digest, interactions.column(name), "<f8")
    for name, kind in ((HISTORY, "<i8"), (HISTORY_FEEDBACK, "<f8")):
        if interactions.has(name):
            values, offsets = interactions.lists(name)
            _add(digest, np.diff(offsets), "<i8")
            _add(digest, values, kind)
    if interactions.use is not None:
        digest.update(interactions.use.kinds.meaning.tobytes())
    for texts in (catalog.ids, catalog.texts(), catalog.titles()):
        digest.update("\0".join(texts).encode())
    if users is not None:
        for words in users.words(np.arange(len(interactions.user_ids))):
            digest.update("\0".join(words).encode() + b"\n")
    return digest.hexdigest()


def _add(digest: Any, values: np.ndarray, kind: str) -> None:
    """Add the bytes of the values as `kind`, block by block."""
    for block in blocks(len(values)):
        digest.update(np.ascontiguousarray(values[block], kind))


def _distinct_pairs(user: np.ndarray, item: np.ndarray, items: int) -> int:
    """Number of distinct (user, item); by sorting, ten times faster on a million than `np.unique`."""
    pairs = user * items
    pairs += item
    pairs.sort()
    return changes(pairs) + (len(pairs) > 0)


def _date(time: float) -> str:
    """A date if the time is likely in seconds since 1970; else the number itself."""
    if YEAR_1980 <= time <= YEAR_2100:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{time:g}"

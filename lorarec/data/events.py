"""Kinds of events: their meanings by `data.events`, and the rows that a task may use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lorarec.config.recipe import DataSection, EventsSection
from lorarec.config.strict import did_you_mean
from lorarec.data.columns import CLICK, EVENT, HISTORY, ITEM, RATING, TIME, USER, WEIGHT, missing_column
from lorarec.data.ids import encode_ids
from lorarec.data.interactions import Part
from lorarec.data.parquet_table import ParquetTable
from lorarec.data.raw_tables import column_of
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

NONE = -1
LISTED = 10
"""Number of kinds that a message lists, the most frequent ones."""


class Meaning(IntEnum):
    """What a kind says about its user and item."""

    IGNORED = -2
    SHOWN = -1
    """The user saw the item; nothing else is known."""
    NEGATIVE = 0
    POSITIVE = 1


@dataclass(frozen=True)
class EventKinds:
    """The kind of each of E rows, and its meaning by `data.events`."""

    names: tuple[str, ...]
    """[K] kinds, by first appearance."""
    meanings: tuple[Meaning, ...]
    """[K]"""
    kind: np.ndarray
    """[E] int64 index of the kind among the K."""
    weights: tuple[float, ...] = ()
    """[K] weight of a row in the training loss; empty where `data.events` has no weights."""
    unread: tuple[str, ...] = ()
    """Columns named as rating or click that are not read, since kinds define what was liked and clicked."""

    @cached_property
    def meaning(self) -> np.ndarray:
        """[E] int8 of Meaning."""
        meaning: np.ndarray = np.array(self.meanings, np.int8)[self.kind]
        return meaning

    @property
    def tell_likes(self) -> bool:
        """Whether kinds define what was liked and clicked: some are negative or shown."""
        return Meaning.NEGATIVE in self.meanings or Meaning.SHOWN in self.meanings

    def readable(self, raw: Dataset | ParquetTable) -> Dataset | ParquetTable:
        """The table without the columns that are not read. Rows of ignored kinds become copies of a used row, so that
        messages number rows as the file does, and ignored rows need not even be readable."""
        used = self.meaning > Meaning.IGNORED
        raw = raw.remove_columns([name for name in self.unread if name in raw.column_names])
        return raw if used.all() else raw.select(np.where(used, np.arange(len(used)), np.argmax(used)))

    def use(self, table: Dataset, needs: frozenset[str], reads_feedback: bool) -> EventUse:
        """How a task that `needs` these columns uses the rows of a numbered table."""
        meaning = self.meaning
        clicks = self.tell_likes and CLICK in needs
        target = meaning == Meaning.POSITIVE
        answer = np.full(len(meaning), NONE)
        if clicks:
            answer = answers(table, meaning)
            target = (meaning > Meaning.IGNORED) & (answer == NONE)
        self._refuse_unused_weights(clicks)
        disliked = reads_feedback and Meaning.NEGATIVE in self.meanings and HISTORY not in table.column_names
        return EventUse(
            kinds=self,
            target=target,
            recalled=(meaning == Meaning.POSITIVE) | ((meaning == Meaning.NEGATIVE) & disliked),
            had=meaning >= Meaning.NEGATIVE,
            answer=answer,
            clicks=clicks,
            disliked=disliked,
            at_once=clicks and Meaning.SHOWN in self.meanings,
        )

    def _refuse_unused_weights(self, clicks: bool) -> None:
        if clicks or not self.weights:
            return
        for name, meaning, weight in zip(self.names, self.meanings, self.weights, strict=True):
            if weight != 1 and meaning != Meaning.POSITIVE:
                raise DataError(
                    f"data.events.weights.{name}={weight:g} does nothing here: the task learns from positive kinds "
                    "alone. Leave it out."
                )


@dataclass(frozen=True)
class EventUse:
    """How a task uses each of E rows. A row that is not a target is in no part: no head can use it as one."""

    kinds: EventKinds
    target: np.ndarray
    """[E] bool rows to train or evaluate on: positive events; where clicks are predicted, negative and shown ones as
    well."""
    recalled: np.ndarray
    """[E] bool rows that may be in histories: positive events, and negative ones if `disliked`."""
    had: np.ndarray
    """[E] bool rows that count as seen and are masked in rankings: positive and negative events."""
    answer: np.ndarray
    """[E] int64 the event that answers a shown row, which is then not a target; -1 for all others."""
    clicks: bool
    """Whether the column click is derived from the kinds and predicted."""
    disliked: bool
    """Whether histories hold negative events, with feedback 0 (1: positive)."""
    at_once: bool
    """Whether rows of the same user and time are one request: none is then in the history of another."""
    part: np.ndarray | None = None
    """[E] int8 of Part: the part of each row by the split, also of those that are not targets."""

    def at_split(self, part: np.ndarray, by: str) -> EventUse:
        """The use of rows that a split puts into `part` [E].

        In a split by time, an earlier part does not know what happens in a later one: a row shown in it and answered
        in a later part was not answered yet, and is a target.
        """
        late = (self.answer != NONE) & (part[self.answer] > part) & (by == "time")
        return replace(self, answer=np.where(late, NONE, self.answer), target=self.target | late)

    def in_parts(self, part: np.ndarray) -> EventUse:
        """The same use with the `part` [E] of each row; answered and ignored rows are in none."""
        in_none = (self.answer != NONE) | (self.kinds.meaning == Meaning.IGNORED)
        return replace(self, part=np.where(in_none, Part.UNUSED, part).astype(np.int8))

    def rows(self) -> int:
        """Number of rows that are not ignored."""
        return int((self.kinds.meaning > Meaning.IGNORED).sum())

    def counts(self, part: np.ndarray, own_histories: bool) -> Iterator[dict[str, Any]]:
        """For each kind its name, meaning, rows of each part, and their use. `part` [E]: the final part of each target;
        other rows keep that of the split. `own_histories`: whether rows come with histories."""
        assert self.part is not None
        part = np.where(self.target, part, self.part)
        for index, (name, meaning) in enumerate(zip(self.kinds.names, self.kinds.meanings, strict=True)):
            of_part = np.bincount(part[self.kinds.kind == index] - Part.UNUSED, minlength=len(Part))
            numbers = {p.name.lower(): int(of_part[p - Part.UNUSED]) for p in Part if p is not Part.UNUSED}
            numbers["rows"] = int(of_part.sum())
            weight = self.kinds.weights[index] if self.kinds.weights else 1.0
            use = self._used(meaning, own_histories) + (f", weight {weight:g}" if weight != 1 else "")
            yield {"kind": name, "meaning": meaning.name.lower(), **numbers, "use": use}

    def _used(self, meaning: Meaning, own_histories: bool) -> str:
        """The use of rows of a meaning, for people to read."""
        if meaning == Meaning.IGNORED:
            return "not used"
        clicks = f"click {int(meaning == Meaning.POSITIVE)}" if self.clicks else ""
        if meaning == Meaning.SHOWN:
            return clicks or "not used by this task"
        target = clicks or ("learned from and evaluated" if meaning == Meaning.POSITIVE else "never a target")
        liked = " as liked" if self.disliked else ""
        history = {
            Meaning.POSITIVE: f"in histories{liked}, counted as popularity",
            Meaning.NEGATIVE: "in histories as disliked" if self.disliked else "in no history, but seen",
        }
        return target if own_histories else f"{target}, {history[meaning]}"

    def labeled(self, table: Dataset) -> Dataset:
        """The numbered table with the columns click (1 for positive kinds, 0 for others) and weight, where they follow
        from kinds."""
        if self.clicks or self.disliked:
            table = table.add_column(CLICK, (self.kinds.meaning == Meaning.POSITIVE).astype(np.float64))
        if self.kinds.weights:
            weight = np.array(self.kinds.weights)[self.kinds.kind]
            if WEIGHT in table.column_names:
                weight = weight * table.data.column(WEIGHT).to_numpy()
                table = table.remove_columns(WEIGHT)
            table = table.add_column(WEIGHT, weight)
        return table


def read_kinds(
    raw: Dataset | ParquetTable, columns: Mapping[str, str], section: DataSection, needs: frozenset[str], origin: str
) -> EventKinds | None:
    """The kinds of a source's rows, or None where there is no column of kinds.

    `columns` maps lorarec's names to the source's, `needs` names the columns of the task. Raises DataError for kinds
    that are in the data or in `data.events` but not in both, and for settings that contradict them.
    """
    if not len(raw):
        return None
    name, available = columns.get(EVENT, EVENT), raw.column_names
    if name not in available:
        if section.events is None and EVENT not in columns:
            return None
        raise missing_column(name, available, origin, "; name the one that holds kinds of events: data.columns.event")
    where = f"{origin}, column '{name}'"
    kind, ids = encode_ids(column_of(raw, name, ids=True), where, what="kind of event")
    names: list[str] = ids.to_pylist()
    meanings = _meanings(section.events, names, np.bincount(kind), where)
    kinds = EventKinds(tuple(names), meanings, kind, _weights(section.events, names))
    if not kinds.tell_likes:
        return kinds
    unread = tuple(columns.get(name, name) for name in (RATING, CLICK) if columns.get(name, name) in available)
    _refuse_contradictions(section, needs, unread, HISTORY in columns or HISTORY in available, origin)
    return replace(kinds, unread=unread)


def answers(table: Dataset, meaning: np.ndarray) -> np.ndarray:
    """[E] int64 for a shown row the next row of the same user and item, if that is an event, else -1: in a log of
    impressions, a click has two rows, shown and clicked, of which only the click counts.

    In the order of time (at equal times, shown comes first), or of the table where there is no time.
    """
    columns = {name: table.data.column(name).to_numpy() for name in table.column_names if name in (USER, ITEM, TIME)}
    rows = np.flatnonzero(meaning > Meaning.IGNORED)
    user, item, event = columns[USER][rows], columns[ITEM][rows], meaning[rows] >= Meaning.NEGATIVE
    keys = (item, user) if TIME not in columns else (event, columns[TIME][rows], item, user)
    order = np.lexsort(keys)
    same = (user[order][1:] == user[order][:-1]) & (item[order][1:] == item[order][:-1])
    pairs = same & ~event[order][:-1] & event[order][1:]
    answer = np.full(len(meaning), NONE)
    answer[rows[order[:-1][pairs]]] = rows[order[1:][pairs]]
    return answer


def _meanings(events: EventsSection | None, names: list[str], counts: np.ndarray, where: str) -> tuple[Meaning, ...]:
    """The meaning of each kind of the data; raises DataError unless `data.events` and the data have the same kinds."""
    if events is None:
        raise DataError(
            f"{where} holds kinds of events ({_counted(range(len(names)), names, counts)}), and a dislike must not "
            "count as a like. Say what each means: data.events={positive: [...], negative: [...], shown: [...], "
            "ignore: [...]}, of which only positive is required."
        )
    named = {kind: (meaning, group) for meaning, group in _groups(events) for kind in getattr(events, group)}
    for kind, (_, group) in named.items():
        if kind not in names:
            raise DataError(
                f"{where}: no row is of the kind '{kind}', which data.events.{group} names.{did_you_mean(kind, names)} "
                f"Kinds: {_counted(range(len(names)), names, counts)}."
            )
    unknown = [index for index, name in enumerate(names) if name not in named]
    if unknown:
        raise DataError(
            f"{where}: data.events does not say what {_counted(unknown, names, counts)} means. Name each kind under "
            "data.events.positive, negative, shown or ignore."
        )
    return tuple(named[name][0] for name in names)


def _weights(events: EventsSection | None, names: list[str]) -> tuple[float, ...]:
    return tuple(events.weights.get(name, 1.0) for name in names) if events is not None and events.weights else ()


def _groups(events: EventsSection) -> Iterator[tuple[Meaning, str]]:
    yield Meaning.POSITIVE, "positive"
    yield Meaning.NEGATIVE, "negative"
    yield Meaning.SHOWN, "shown"
    yield Meaning.IGNORED, "ignore"


def _counted(which: range | list[int], names: list[str], counts: np.ndarray) -> str:
    """Kinds with their numbers of rows, the most frequent first."""
    order = sorted(which, key=lambda index: -counts[index])
    listed = [f"'{names[index]}' {counts[index]:,}" for index in order[:LISTED]]
    return ", ".join(listed) + (f" and {len(order) - LISTED:,} more" if len(order) > LISTED else "")


def _refuse_contradictions(
    section: DataSection, needs: frozenset[str], unread: tuple[str, ...], own_histories: bool, origin: str
) -> None:
    """Raise DataError where another setting or column than the kinds would define what was liked or clicked."""
    if RATING in needs:
        raise DataError(
            f"{origin}: the task learns from the column 'rating', which says itself what was liked, so data.events."
            "negative and data.events.shown would contradict it. Name kinds that come with a rating under "
            "data.events.positive, and the others under data.events.ignore."
        )
    for name in (RATING, CLICK):
        if name in section.columns:
            raise DataError(
                f"data.columns.{name}={section.columns[name]} does nothing here: by data.events, kinds say what was "
                "liked and clicked. Leave it out, or leave out data.events.negative and data.events.shown."
            )
    for name, column in section.columns.items():
        if column in unread and name != EVENT:
            raise DataError(
                f"data.columns.{name}={column}: the column '{column}' is not read here, since by data.events kinds say "
                "what was liked and clicked. Give a copy of it under another name."
            )
    if section.liked_above is not None and not own_histories:
        raise DataError(
            f"data.liked_above={section.liked_above:g} does nothing here: by data.events, positive kinds are liked "
            "and negative ones are not. Leave it out."
        )

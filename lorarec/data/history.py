"""Histories: the events of a user strictly before an event."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

import numpy as np

from lorarec.config.recipe import Seen
from lorarec.data import ordering
from lorarec.data.columns import CLICK, HISTORY, HISTORY_FEEDBACK, RATING
from lorarec.data.interactions import Interactions, Part
from lorarec.data.ordering import blocks, row_type, time_order
from lorarec.errors import DataError


class History(NamedTuple):
    """One user's events, oldest first."""

    items: np.ndarray
    """[L] int64 catalog rows."""
    feedback: np.ndarray
    """[L] float32: stars, or 1/0 for clicks; NaN where there is none."""
    events: np.ndarray
    """[L] int64 rows in the interactions; -1 where the history is the row's own."""


def feedback_column(interactions: Interactions) -> str | None:
    """The column of a user's feedback on an item: rating, else click, else none."""
    return next((name for name in (RATING, CLICK) if interactions.has(name)), None)


class _Lookup:
    """A number for each event: its own, or that of the group (the user) it is in."""

    def __init__(self, numbers: np.ndarray, group: np.ndarray | None = None) -> None:
        self._numbers = numbers
        self._group = group

    def __getitem__(self, events: np.ndarray | int) -> np.ndarray:
        """[n] int64 the numbers of these events [n]."""
        chosen = self._numbers[events if self._group is None else self._group[events]]
        return np.asarray(chosen, np.int64)


class Histories:
    """Looks up histories by event: slices of shared arrays.

    Events are ordered by time, equal times by their order in the table. Built by `of`.
    """

    liked_above: float
    """Feedback above this number counts as liked."""

    def __init__(
        self, flat: History, bounds: tuple[_Lookup, _Lookup], seen: tuple[_Lookup, _Lookup],
        own: np.ndarray | None, liked_above: float, had: Histories | None = None,
    ) -> None:  # fmt: skip
        """`flat` holds all events that can be looked up; `bounds` ([E] start, [E] end) is the slice of each event's
        history, `seen` that of the events its user has seen; `own` [E] is the event's own index in `flat`, -1 if it is
        not there; `had` looks up seen events where they differ from those in histories."""
        self._flat = flat
        self._starts, self._ends = bounds
        self._seen_starts, self._seen_ends = seen
        self._own = own
        self._had = had
        self.liked_above = liked_above

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        scope: Literal["past", "training"],
        feedback_column: str | None,
        liked_above: float,
        split_by: Literal["time", "last", "random", "column"],
    ) -> Self:
        """Histories of all events of a split table.

        scope past: the user's events strictly before; all of them where the split respects time (time, last),
        else the training ones only. scope training: all other training events of the user, whatever their time. Rows
        with their own history keep it. Where the data have kinds of events, histories hold those that
        `Interactions.use` selects, and the seen events are all positive and negative ones.

        Raises DataError if the scope does nothing (rows with their own history) or leaks (time, last).
        """
        if interactions.has(HISTORY):
            if scope == "training":
                raise DataError(
                    "data.history.scope=training does nothing here: the rows have their own histories. Leave it out."
                )
            return cls._given(interactions, liked_above)
        if scope == "training" and split_by in ("time", "last"):
            raise DataError(
                f"data.history.scope=training would show a model later events of its users, which data.split.by="
                f"{split_by} excludes. Use scope=past, or split by random or column."
            )
        return cls._of_events(interactions, scope, feedback_column, liked_above, split_by in ("time", "last"))

    @classmethod
    def _given(cls, interactions: Interactions, liked_above: float) -> Self:
        items, offsets = interactions.lists(HISTORY)
        feedback = np.broadcast_to(np.float32(np.nan), items.shape)
        if interactions.has(HISTORY_FEEDBACK):
            feedback = interactions.lists(HISTORY_FEEDBACK)[0].astype(np.float32)
        flat = History(items, feedback, np.broadcast_to(np.int64(-1), items.shape))
        bounds = _Lookup(offsets[:-1]), _Lookup(offsets[1:])
        return cls(flat, bounds, bounds, None, liked_above)

    @classmethod
    def _of_events(
        cls,
        interactions: Interactions,
        scope: str,
        feedback: str | None,
        liked_above: float,
        all_visible: bool,
    ) -> Self:
        use = interactions.use
        part = interactions.part if use is None or use.part is None else use.part
        visible = np.ones(len(part), bool) if all_visible else part == Part.TRAIN
        if use is None:
            return cls._of_visible(interactions, visible, scope, feedback, liked_above, all_visible)
        # Where the split ignores time, a return would mask or reveal the held-out purchase of the same item.
        allowed = np.ones(len(part), bool) if all_visible else ~(_has_held_out_pair(interactions) & ~use.target)
        recalled = visible & use.recalled & (allowed if scope == "training" else True)
        had = None
        if (use.had != use.recalled).any() or not allowed.all():
            had = cls._of_visible(interactions, visible & use.had & allowed, scope, None, liked_above, all_visible)
        return cls._of_visible(interactions, recalled, scope, feedback, liked_above, all_visible, had)

    @classmethod
    def _of_visible(
        cls,
        interactions: Interactions,
        visible: np.ndarray,
        scope: str,
        feedback: str | None,
        liked_above: float,
        all_visible: bool,
        had: Histories | None = None,
    ) -> Self:
        """Histories that hold the events where `visible` [E] is true."""
        rows, user = len(interactions), interactions.user
        order = time_order(user, interactions.time).astype(row_type(rows))
        visible = visible[order]
        # Number of visible events before each index of the order, before each user's first and after their last.
        before = np.zeros(rows + 1, row_type(rows))
        np.cumsum(visible, out=before[1:])
        first = before[np.concatenate(([0], np.cumsum(np.bincount(user))))]
        end = np.empty(rows, row_type(rows))
        end[order] = before[:-1]
        if interactions.use is not None and interactions.use.at_once and interactions.time is not None:
            end[order] = before[_first_of_time(user[order], interactions.time[order])]
        events = order[visible]
        flat = History(
            interactions.item[events].astype(row_type(int(interactions.item.max(initial=0)))),
            _feedback_of(interactions, feedback, events),
            events,
        )
        past = _Lookup(first, user), _Lookup(end)
        everything = _Lookup(first, user), _Lookup(first[1:], user)
        own = None
        if scope == "training" or not all_visible:
            own = np.full(rows, -1, row_type(rows))
            own[events] = np.arange(len(events))
        read, seen = everything if scope == "training" else past, past if all_visible else everything
        return cls(flat, read, seen, own, liked_above, had)

    def before(self, event: int, limit: int | None = None) -> History:
        """The events of the user strictly before this one; the latest `limit` ones, or all."""
        return self._cut(event, int(self._starts[event]), int(self._ends[event]), limit)

    def latest(self, events: np.ndarray, limit: int) -> tuple[History, np.ndarray]:
        """The latest `limit` events before each of `events` [n] as right-aligned arrays [n, L], and their mask [n, L];
        padding is row 0, NaN and -1. L is at least 1, so that no dimension is 0."""
        starts, ends, own = self._starts[events], self._ends[events], self._inside(events)
        lengths = np.minimum(self.lengths(events), limit)
        steps_back = np.arange(max(1, int(lengths.max(initial=0))))[::-1]
        index = ends[:, None] - 1 - steps_back
        index -= (own >= starts)[:, None] & (index <= own[:, None])  # skip the event itself
        mask = steps_back < lengths[:, None]
        latest = History(
            np.zeros(mask.shape, np.int64), np.full(mask.shape, np.nan, np.float32), np.full(mask.shape, -1, np.int64)
        )
        for padded, column in zip(latest, self._flat, strict=True):
            padded[mask] = column[index[mask]]
        return latest, mask

    def distinct(self, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct histories of `events` [n]: [H] the first event of each, in the given order, and [n] int64 the
        index of each event's history among them."""
        starts, ends, own = self._starts[events], self._ends[events], self._inside(events)
        # An event that is skipped within its own history shares it with no other.
        key = np.where(own < 0, starts * (len(self._flat.items) + 1) + ends, -1 - own)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        order = np.sort(first)
        return events[order], np.searchsorted(order, first)[inverse]

    def of_rows(self, events: np.ndarray) -> Self:
        """The histories of `events` [n], which may repeat, as those of the rows 0 to n - 1 of another table."""
        own = None if self._own is None else self._own[events]
        bounds = _Lookup(self._starts[events]), _Lookup(self._ends[events])
        seen = _Lookup(self._seen_starts[events]), _Lookup(self._seen_ends[events])
        had = None if self._had is None else self._had.of_rows(events)
        return type(self)(self._flat, bounds, seen, own, self.liked_above, had)

    def masked(self, events: np.ndarray, seen: Seen) -> list[np.ndarray]:
        """For each event, the catalog rows to leave out of its ranking: those seen before; none if `seen` is keep."""
        if seen == "keep":
            return [np.empty(0, np.int64)] * len(events)
        return [self.seen(int(event)) for event in events]

    def seen(self, event: int) -> np.ndarray:
        """[L] int64 catalog rows that the event's user has seen before, for masking; with repeats.

        Where the split does not respect time (random, column), these are all other training events of the user.
        The event's own item is among them only if the user has another event with it.
        """
        source = self if self._had is None else self._had
        return source._cut(event, int(source._seen_starts[event]), int(source._seen_ends[event]), None).items

    def have_seen(self, events: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[n] whether the item [n] of each event [n] is among those that `seen` gives."""
        source = self if self._had is None else self._had
        starts, ends = source._seen_starts[events], source._seen_ends[events]
        own = np.full(len(events), -1) if source._own is None else np.asarray(source._own[events], np.int64)
        lengths, result = ends - starts, np.zeros(len(events), bool)
        total = np.cumsum(lengths)
        start = 0
        while start < len(events):  # about BLOCK events of histories at a time, however long they are
            done = total[start] - lengths[start]
            stop = max(start + 1, int(np.searchsorted(total, done + ordering.BLOCK, side="right")))
            few = lengths[start:stop]
            row = np.repeat(np.arange(start, stop), few)
            index = np.arange(len(row)) + np.repeat(starts[start:stop] - (total[start:stop] - few - done), few)
            same = (source._flat.items[index] == items[row]) & (index != own[row])
            result[row[same]] = True
            start = stop
        return result

    def lengths(self, events: np.ndarray) -> np.ndarray:
        """[n] int64 the length of each event's whole history."""
        lengths = np.empty(len(events), np.int64)
        for block in blocks(len(events)):
            few = events[block]
            lengths[block] = self._ends[few] - self._starts[few] - (self._inside(few) >= 0)
        return lengths

    def latest_time(self, time: np.ndarray, events: np.ndarray) -> np.ndarray:
        """[n] float64 the latest time in each whole history, by the `time` [E] of all rows; -inf where it is empty or
        the row's own."""
        starts, last, own = self._starts[events], self._ends[events] - 1, self._inside(events)
        last -= own == last
        latest = np.full(len(events), -np.inf)
        known = (last >= starts) & (self._flat.events[last] >= 0)
        latest[known] = time[self._flat.events[last[known]]]  # a user's events are in the order of time
        return latest

    def liked(self, feedback: np.ndarray) -> tuple[int, ...]:
        """1 liked, 0 not liked, -1 unknown for each value of feedback."""
        above = self.liked_above
        return tuple(-1 if value != value else int(value > above) for value in feedback.tolist())

    def _inside(self, events: np.ndarray) -> np.ndarray:
        """[n] int64 the index in `flat` of an event that is within the slice of its own history; -1 elsewhere."""
        if self._own is None:
            return np.full(len(events), -1, np.int64)
        own = np.asarray(self._own[events], np.int64)
        return np.asarray(np.where((own >= self._starts[events]) & (own < self._ends[events]), own, -1))

    def _cut(self, event: int, start: int, end: int, limit: int | None) -> History:
        items, feedback, events = self._flat
        own = -1 if self._own is None else int(self._own[event])
        if not start <= own < end:
            if limit is not None:
                start = max(start, end - limit)
            return _wide(History(items[start:end], feedback[start:end], events[start:end]))
        # The event itself is within the slice: skip it.
        if limit is not None:
            start = max(start, end - limit - (own >= end - limit))
        a, b = slice(min(start, own), own), slice(max(start, own + 1), end)
        return _wide(History(*(np.concatenate((column[a], column[b])) for column in self._flat)))


def _has_held_out_pair(interactions: Interactions) -> np.ndarray:
    """[E] whether a held-out row has the same user and item."""
    pair = interactions.user * (int(interactions.item.max(initial=0)) + 1) + interactions.item
    return np.isin(pair, pair[interactions.part >= Part.VALIDATION])


def _first_of_time(user: np.ndarray, time: np.ndarray) -> np.ndarray:
    """[E] index of the first of the sorted rows with the same user and time."""
    is_new = np.ones(len(user), bool)
    is_new[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1])
    return np.maximum.accumulate(np.where(is_new, np.arange(len(user)), 0))


def _feedback_of(interactions: Interactions, feedback: str | None, events: np.ndarray) -> np.ndarray:
    """[n] float32 the feedback of these events [n]; NaN, without memory, where there is none."""
    if feedback is None:
        return np.broadcast_to(np.float32(np.nan), events.shape)
    return np.asarray(interactions.column(feedback)[events], np.float32)


def _wide(history: History) -> History:
    """Rows as int64: the shared arrays may be narrower."""
    return History(history.items.astype(np.int64), history.feedback, history.events.astype(np.int64))

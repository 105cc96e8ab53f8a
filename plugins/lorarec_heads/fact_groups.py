"""Examples that are one fact each, several facts of one user together, or one part of all training facts."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lorarec.contracts import Interactions, Part

NONE = -1
"""Stands where a group has fewer facts than others."""
DEALING = 0
"""Seed of which fact is dealt into which part."""


def fact_examples(interactions: Interactions, part: Part, label: str, group: int) -> Dataset:
    """One row an event of the part; with `group` above 1, one row for up to so many events of one user.

    Columns: `event`; `label` where rows are single; `events` (lists, padded with -1) in groups.
    """
    events = interactions.rows(part)
    if group == 1:
        return Dataset.from_dict({"event": events, "label": interactions.column(label)[events]})
    groups = _grouped(events, interactions.user[events], interactions.time, group)
    return Dataset.from_dict({"event": groups[:, 0], "events": list(groups)})


def dealt_examples(interactions: Interactions, parts: int) -> Dataset:
    """The training events, dealt at random into so many parts, a part a row; the same ones whenever it is asked.

    Columns: `events` (list, ascending) and `event`, the first of them.
    """
    rows = np.random.default_rng(DEALING).permutation(interactions.rows(Part.TRAIN))
    dealt = [np.sort(rows[place::parts]) for place in range(min(parts, len(rows)))]
    return Dataset.from_dict({"event": [events[0] for events in dealt], "events": dealt})


def facts_of(rows: dict[str, np.ndarray]) -> np.ndarray:
    """[F] int64 the events that these examples are about."""
    if "events" not in rows:
        return rows["event"]
    flat = np.concatenate([np.asarray(events, np.int64) for events in rows["events"]])
    facts: np.ndarray = flat[flat != NONE]
    return facts


def _grouped(events: np.ndarray, users: np.ndarray, time: np.ndarray | None, size: int) -> np.ndarray:
    """[G, size] events of one user a row, neighbours in time together: their histories share the most."""
    if len(events) == 0:
        return np.empty((0, size), np.int64)
    keys = (users,) if time is None else (time[events], users)
    order = np.lexsort(keys)
    events, users = events[order], users[order]
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    lengths = np.diff(np.r_[starts, len(users)])
    place = np.arange(len(users)) - np.repeat(starts, lengths)
    groups_before = np.r_[0, np.cumsum(-(-lengths // size))]
    row = np.repeat(groups_before[:-1], lengths) + place // size
    groups = np.full((groups_before[-1], size), NONE, np.int64)
    groups[row, place % size] = events
    return groups

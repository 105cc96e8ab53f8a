"""Windows: training sequences cut so that each event is a target exactly once."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lorarec.contracts import DataError, Histories, Interactions, Part


def window_examples(interactions: Interactions, histories: Histories, part: Part, targets: int) -> Dataset:
    """Rows of (event, targets): a window ends with `event`, and its last `targets` events are to be
    predicted.

    Outside training, and where rows bring their own histories, each event is a row of its own. In training,
    windows hold up to `targets` targets; an event with nothing before it is no target. Raises DataError if
    histories show the future.
    """
    events = interactions.rows(part)
    if part != Part.TRAIN:
        return Dataset.from_dict({"event": events, "targets": np.ones(len(events), np.int64)})
    place = histories.lengths(events)
    if interactions.has("history"):
        events = events[place > 0]
        return Dataset.from_dict({"event": events, "targets": np.ones(len(events), np.int64)})
    _refuse_future(interactions, histories, events, place)
    kept = place > 0
    events, place = events[kept], place[kept]
    last, held = _windows(interactions.user[events], place, targets)
    return Dataset.from_dict({"event": events[last], "targets": held})


def _windows(users: np.ndarray, place: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Which events end a window, and how many targets each window has."""
    order = np.lexsort((place, users))
    users, place = users[order], place[order]
    if not len(order):
        return order, order
    # A run is a stretch of one user's events without a gap; windows are cut from its end.
    starts = np.flatnonzero(np.r_[True, (np.diff(users) != 0) | (np.diff(place) != 1)])
    lengths = np.diff(np.r_[starts, len(users)])
    from_end = np.repeat(starts + lengths, lengths) - 1 - np.arange(len(users))
    ends = np.flatnonzero(from_end % length == 0)
    left = ends - np.repeat(starts, lengths)[ends] + 1
    return order[ends], np.minimum(left, length)


def _refuse_future(interactions: Interactions, histories: Histories, events: np.ndarray, place: np.ndarray) -> None:
    """Two events of one user with equally long histories: each sees the other, so one of them sees its
    future."""
    pairs = np.stack([interactions.user[events], place], axis=1)
    if len(np.unique(pairs, axis=0)) < len(pairs):
        raise DataError(
            "Head 'next_item' predicts what comes next, but the histories hold later events too. Set "
            "data.history.scope=past."
        )

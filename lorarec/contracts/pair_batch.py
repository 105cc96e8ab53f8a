"""Batches of (user, item) pairs: padded histories, each item or text once, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from lorarec.contracts.backbone import View
from lorarec.contracts.batch import Batch, Collation
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part

NONE = -1
"""Pads a group that has fewer events than others."""


class PaddedHistory(NamedTuple):
    """B histories, right-aligned: the last column is the latest event. L is at least 1, so that no dimension
    is 0."""

    items: np.ndarray
    """[B, L] int64 catalog rows; 0 where there is no event."""
    feedback: np.ndarray
    """[B, L] float32 stars or clicks; NaN where there is no feedback or no event."""
    mask: np.ndarray
    """[B, L] true where there is an event."""
    events: np.ndarray
    """[B, L] int64 rows in the interactions; -1 where there is no event, or if rows come with their histories."""

    @classmethod
    def of(cls, histories: Histories, events: np.ndarray, limit: int) -> PaddedHistory:
        """The latest `limit` events before each of `events` [B]."""
        (items, feedback, rows), mask = histories.latest(events, limit)
        return cls(items, feedback, mask, rows)

    def only(self, mask: np.ndarray) -> PaddedHistory:
        """The same histories without the events where `mask` [B, L] is false."""
        events = np.where(mask, self.events, -1)
        return PaddedHistory(np.where(mask, self.items, 0), np.where(mask, self.feedback, np.nan), mask, events)

    def liked(self, above: float) -> np.ndarray:
        """[B, L] float32: 1 liked (feedback above this number), -1 not liked, 0 unknown."""
        with np.errstate(invalid="ignore"):
            sign = np.where(self.feedback > above, 1.0, -1.0)
        return np.where(np.isnan(self.feedback), 0.0, sign).astype(np.float32)


def event_examples(interactions: Interactions, part: Part, label: str, group: int = 1) -> Dataset:
    """One row per event of the part, with columns `event` and `label`: `TaskHead.examples` for heads whose examples are
    the (user, item) pairs of the events.

    `label`: the column of the interactions that is predicted. With `group` above 1, for training only, one row for up
    to `group` consecutive events of one user, whose histories overlap most: columns `event`, the first of them, and
    `events` and `labels`, lists padded with -1.
    """
    events, labels = interactions.rows(part), interactions.column(label)
    if group == 1:
        return Dataset.from_dict({"event": events, "label": labels[events]})
    groups = _grouped(events, interactions.user[events], interactions.time, group)
    of_groups = np.where(groups == NONE, NONE, labels[groups])
    return Dataset.from_dict({"event": groups[:, 0], "events": list(groups), "labels": list(of_groups)})


def pair_batch(
    rows: Mapping[str, np.ndarray],
    collation: Collation,
    max_history: int,
    encoding: Literal["separate", "joint"] = "separate",
    candidates: np.ndarray | None = None,
    skip_latest: np.ndarray | None = None,
) -> Batch:
    """The batch of these examples of pairs: `TaskHead.collate` for a `PairPredictor`.

    `rows`: the columns of `event_examples`, and `row`. T targets, one per event; H distinct histories of their latest
    `max_history` events, padded to L. `candidates` [T]: catalog rows of the targets' items, by default those of the
    events. `skip_latest` [T]: how many of the latest events of each history are left out.

    Views: with `encoding` "separate", `items`, each item of the histories and candidates once; with "joint", `pairs`,
    each distinct text of a history and a candidate once. Tensors:

    - `items` [V] catalog rows of the distinct items; `candidate` [T] and `history` [H, L] indices into them
    - `owner` [T] index of each target's history
    - `mask` [H, L] true where there is an event, `known` [H, L] where there is feedback on it
    - `feedback` [H, L] stars or clicks, 0 where unknown; `liked` [H, L] 1 liked, -1 not liked, 0 unknown
    - `labels` [T], in training only
    - `pair` [T] index of each target's text in the views `pairs`, with "joint"
    """
    events, labels = _events_and_labels(rows)
    candidates = collation.interactions.item[events] if candidates is None else candidates
    history, owner = _histories(collation.histories, events, max_history, skip_latest)
    tensors = _pair_tensors(candidates, history, owner, collation.histories.liked_above)
    if collation.training and labels is not None:
        tensors["labels"] = torch.from_numpy(labels.astype(np.float32))
    if encoding == "separate":
        views = {"items": collation.item_views(tensors["items"].numpy())}
    else:
        pairs, tensors["pair"] = _distinct_views(_pair_views(history, owner, candidates, events, collation))
        views = {"pairs": collation.views(pairs)}
    return Batch(torch.from_numpy(rows["row"]), len(events), views, tensors, events=events)


def _pair_tensors(
    candidates: np.ndarray, history: PaddedHistory, owner: np.ndarray, liked_above: float
) -> dict[str, Tensor]:
    """The tensors of `pair_batch` that describe candidates [T], their H histories and the feedback in them."""
    items, (candidate, within) = distinct_items(candidates, history.items)
    known = ~np.isnan(history.feedback)
    return {
        "items": torch.from_numpy(items),
        "candidate": candidate,
        "history": within,
        "owner": torch.from_numpy(owner),
        "mask": torch.from_numpy(history.mask),
        "known": torch.from_numpy(known),
        "feedback": torch.from_numpy(np.where(known, history.feedback, 0.0).astype(np.float32)),
        "liked": torch.from_numpy(history.liked(liked_above)),
    }


def distinct_items(*rows: np.ndarray) -> tuple[np.ndarray, list[Tensor]]:
    """[V] the distinct items of several arrays of catalog rows of any shape, ascending; and for each array, in the same
    shape, the indices of its items in [V]."""
    items, inverse = np.unique(np.concatenate([array.ravel() for array in rows]), return_inverse=True)
    ends = np.cumsum([array.size for array in rows])
    parts = np.split(inverse.ravel(), ends[:-1])
    shaped = [part.reshape(array.shape) for part, array in zip(parts, rows, strict=True)]
    return items, [torch.from_numpy(part) for part in shaped]


def _events_and_labels(rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """[T] int64 events of these examples, and their labels [T], if any."""
    if "events" not in rows:
        return rows["event"], rows.get("label")
    events = np.concatenate([np.asarray(group, np.int64) for group in rows["events"]])
    labels = np.concatenate([np.asarray(group, np.float64) for group in rows["labels"]])
    return events[events != NONE], labels[events != NONE]


def _histories(
    histories: Histories, events: np.ndarray, limit: int, skip_latest: np.ndarray | None
) -> tuple[PaddedHistory, np.ndarray]:
    """H distinct histories, and [T] the index of each event's history: users for whom many items are scored have one
    history for all of them. With `skip_latest`, each event has a separate history."""
    if skip_latest is None:
        distinct, owner = histories.distinct(events)
        return PaddedHistory.of(histories, distinct, limit), owner
    history = PaddedHistory.of(histories, events, limit)
    earlier = np.arange(history.mask.shape[1])[::-1] >= skip_latest[:, None]
    return history.only(history.mask & earlier), np.arange(len(events))


def _pair_views(
    history: PaddedHistory, owner: np.ndarray, candidates: np.ndarray, events: np.ndarray, collation: Collation
) -> list[View]:
    """One view of (user, history, candidate) for each of `events` [T], for joint encoding."""
    read = [
        (tuple(items[mask].tolist()), collation.histories.liked(feedback[mask]))
        for items, feedback, mask in zip(history.items, history.feedback, history.mask, strict=True)
    ]
    pairs = zip(owner.tolist(), candidates.tolist(), collation.user_words(events), strict=True)
    return [View(read[row][0], read[row][1], item, user) for row, item, user in pairs]


def _distinct_views(views: Sequence[View]) -> tuple[list[View], Tensor]:
    """Each distinct view once, in order of first appearance, and [T] the index of each given view in them."""
    indices: dict[View, int] = {}
    inverse = [indices.setdefault(view, len(indices)) for view in views]
    return list(indices), torch.tensor(inverse, dtype=torch.int64)


def _grouped(events: np.ndarray, users: np.ndarray, time: np.ndarray | None, size: int) -> np.ndarray:
    """[G, size] groups of consecutive events of one user."""
    if len(events) == 0:
        return np.empty((0, size), np.int64)
    keys = (users,) if time is None else (time[events], users)
    order = np.lexsort(keys)
    events, users = events[order], users[order]
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    lengths = np.diff(np.r_[starts, len(users)])
    index = np.arange(len(users)) - np.repeat(starts, lengths)
    groups_before = np.r_[0, np.cumsum(-(-lengths // size))]
    row = np.repeat(groups_before[:-1], lengths) + index // size
    groups = np.full((groups_before[-1], size), NONE, np.int64)
    groups[row, index % size] = events
    return groups

"""PaddedHistory: the histories of a batch as rectangles, and the distinct items that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Collation, Histories, View


class PaddedHistory(NamedTuple):
    """B histories, right-aligned: the last column is the latest event. L is at least 1, so that no dimension
    is 0."""

    items: np.ndarray
    """[B, L] int64 catalogue rows; 0 where there is no event."""
    feedback: np.ndarray
    """[B, L] float32 stars or clicks; NaN where there is none, or no event."""
    mask: np.ndarray
    """[B, L] true where there is an event."""
    events: np.ndarray
    """[B, L] int64 rows in the interactions; -1 where there is none, or the history came with the row itself."""

    @classmethod
    def of(cls, histories: Histories, events: np.ndarray, limit: int) -> PaddedHistory:
        """The latest `limit` events before each of `events` [B]."""
        (items, feedback, rows), mask = histories.latest(events, limit)
        return cls(items, feedback, mask, rows)

    @classmethod
    def shared(cls, histories: Histories, events: np.ndarray, limit: int) -> tuple[PaddedHistory, np.ndarray]:
        """H distinct histories, and [B] which of them belongs to each of `events` [B]: those who are recommended
        items have one history for all of them."""
        distinct, owner = histories.alike(events)
        return cls.of(histories, distinct, limit), owner

    def only(self, mask: np.ndarray) -> PaddedHistory:
        """The same histories without the events where `mask` [B, L] is false."""
        events = np.where(mask, self.events, -1)
        return PaddedHistory(np.where(mask, self.items, 0), np.where(mask, self.feedback, np.nan), mask, events)

    def liked(self, above: float) -> np.ndarray:
        """[B, L] float32: 1 liked, -1 not, 0 where nobody knows."""
        with np.errstate(invalid="ignore"):
            sign = np.where(self.feedback > above, 1.0, -1.0)
        return np.where(np.isnan(self.feedback), 0.0, sign).astype(np.float32)


class Distinct(NamedTuple):
    """Each item of a batch once, and where it stands."""

    items: np.ndarray
    """[V] int64 catalogue rows, ascending."""
    places: list[Tensor]
    """For each array of rows that was given, the same shape: where its items stand among the V."""

    @classmethod
    def of(cls, *rows: np.ndarray) -> Distinct:
        """The distinct items of several arrays of catalogue rows of any shape."""
        items, inverse = np.unique(np.concatenate([array.ravel() for array in rows]), return_inverse=True)
        ends = np.cumsum([array.size for array in rows])
        parts = np.split(inverse.ravel(), ends[:-1])
        shaped = [part.reshape(array.shape) for part, array in zip(parts, rows, strict=True)]
        return cls(items, [torch.from_numpy(part) for part in shaped])


def pair_views(
    history: PaddedHistory, owner: np.ndarray, candidates: np.ndarray, events: np.ndarray, collation: Collation
) -> list[View]:
    """One view of (user, history, candidate) for each of `events` [B], for encoders that read all of it together."""
    read = [
        (tuple(items[mask].tolist()), collation.histories.liked(feedback[mask]))
        for items, feedback, mask in zip(history.items, history.feedback, history.mask, strict=True)
    ]
    pairs = zip(owner.tolist(), candidates.tolist(), collation.user_words(events), strict=True)
    return [View(read[row][0], read[row][1], item, user) for row, item, user in pairs]


def distinct_views(views: Sequence[View]) -> tuple[list[View], Tensor]:
    """Each view once, in order of first appearance, and [B] where each given one stands among them."""
    places: dict[View, int] = {}
    inverse = [places.setdefault(view, len(places)) for view in views]
    return list(places), torch.tensor(inverse, dtype=torch.int64)

"""Histories: what a user had done strictly before a moment."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class History(NamedTuple):
    """One user's events, oldest first."""

    items: np.ndarray
    """[L] int64 catalogue rows."""
    feedback: np.ndarray
    """[L] float32: stars, or 1/0 for clicks; NaN where there is none."""
    events: np.ndarray
    """[L] int64 rows in the interactions; -1 where the history came with the row itself."""


class Histories(Protocol):
    """Looks up histories by event; made by `split_histories` or `given_histories`."""

    liked_above: float
    """Feedback above this number counts as liked."""

    def before(self, event: int, limit: int | None = None) -> History:
        """What the event's user had done strictly before it; the latest `limit` events, or all."""

    def liked(self, feedback: np.ndarray) -> tuple[int, ...]:
        """1 liked, 0 not, -1 unknown for each number of feedback."""

"""Requests: what callers bring, as catalogue rows, and the tables a head makes its examples from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions
from lorarec.data.requests import interactions_from_requests


@dataclass(frozen=True)
class Requests:
    """What callers bring: histories as catalogue rows, feedback beside them, user rows (-1: new)."""

    histories: list[list[int]]
    feedback: list[list[float]]
    users: list[int]

    def __len__(self) -> int:
        return len(self.histories)

    def subset(self, places: np.ndarray) -> Requests:
        """These requests only; a place may come more than once."""
        return Requests(
            [self.histories[p] for p in places], [self.feedback[p] for p in places], [self.users[p] for p in places]
        )

    def tables(self, items: np.ndarray, user_ids: list[str], liked_above: float) -> tuple[Interactions, Histories]:
        """The tables a head makes its examples from: one event a request, which brings its own history."""
        interactions = interactions_from_requests(
            self.histories, self.feedback, [int(item) for item in items], self.users, user_ids
        )
        return interactions, Histories.of(interactions, "past", None, liked_above, "random")

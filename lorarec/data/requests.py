"""Requests: the input of a finished run's predictions, in the same tables as training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from datasets import Dataset

from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, ITEM, USER
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.users import Users
from lorarec.errors import DataError, counted

NONE = -1
"""User row of a request whose user is unknown, and item row of a request without an item."""


@dataclass(frozen=True)
class Requests:
    """R requests to a finished run: a history each, and optionally an item to score."""

    events: Interactions
    """One row per request, in no part of the split: `item` is a catalog row, -1 where there is no item. There are no
    labels and no times."""
    histories: Histories
    """The history of each request, by its row in `events`."""
    users: Users | None = None
    """Columns of the users, where the run reads any; `user` in `events` is then a row of it."""

    @classmethod
    def of(
        cls,
        histories: Sequence[Sequence[int]],
        feedback: Sequence[Sequence[float]] | None,
        items: Sequence[int] | None,
        liked_above: float,
        users: Users | None = None,
    ) -> Self:
        """`histories` are catalog rows, oldest first; `feedback` has a number for each event (NaN: unknown), which
        counts as liked above `liked_above`; `items` are the candidates, `users` the columns of each user. Raises
        DataError naming the row where lengths differ."""
        for name, values in (("feedback", feedback), ("items", items)):
            if values is not None and len(values) != len(histories):
                raise DataError(f"requests: {len(histories)} histories, but {len(values)} {name}. Give one for each.")
        columns = {HISTORY: pa.array([list(history) for history in histories], pa.large_list(pa.int64()))}
        if feedback is not None:
            _refuse_other_lengths(histories, feedback)
            columns[HISTORY_FEEDBACK] = pa.array([list(n) for n in feedback], pa.large_list(pa.float64()))
        item = np.full(len(histories), NONE) if items is None else np.asarray(items, np.int64)
        user = np.full(len(histories), NONE) if users is None else np.arange(len(histories))
        events = _events(item, user, columns)
        return cls(events, Histories.of(events, "past", None, liked_above, "random"), users)

    def __len__(self) -> int:
        return len(self.events)

    def about(self, rows: np.ndarray, items: np.ndarray) -> Self:
        """The requests `rows` [n], which may repeat, each with its item of `items` [n]. Histories are not copied."""
        return type(self)(_events(items, self.events.user[rows], {}), self.histories.of_rows(rows), self.users)

    def between(self, start: int, stop: int) -> Self:
        """The requests from row `start` to row `stop` - 1."""
        rows = np.arange(start, min(stop, len(self)))
        return self.about(rows, self.events.item[rows])

    def history_items(self) -> list[np.ndarray]:
        """The catalog rows of each request's history, oldest first."""
        return [self.histories.before(row).items for row in range(len(self))]


def _events(items: np.ndarray, users: np.ndarray, columns: dict[str, pa.Array]) -> Interactions:
    columns = {USER: pa.array(users), ITEM: pa.array(items), **columns}
    # Computing a fingerprint takes longer than answering a request, and requests are never cached by it.
    table = Dataset(pa.table(columns), fingerprint="requests")
    return Interactions(table, pa.array([], pa.string()), np.full(len(items), Part.UNUSED, np.int8))


def _refuse_other_lengths(histories: Sequence[Sequence[int]], feedback: Sequence[Sequence[float]]) -> None:
    for row, (history, numbers) in enumerate(zip(histories, feedback, strict=True), start=1):
        if len(history) != len(numbers):
            raise DataError(
                f"requests, row {row}, 'feedback': {counted(len(numbers), 'numbers')} for a history of "
                f"{counted(len(history), 'events')}. "
                "Give one for each event."
            )

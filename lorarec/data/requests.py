"""Requests: histories that callers bring, as interactions that heads and histories read like any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from datasets import Dataset

from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, ITEM, USER
from lorarec.data.interactions import Interactions, Part
from lorarec.errors import DataError

NOBODY = -1
"""User row of a request that names no user, and item row of one that names no item."""


def interactions_from_requests(
    histories: Sequence[Sequence[int]],
    feedback: Sequence[Sequence[float]] | None,
    items: Sequence[int] | None,
    users: Sequence[int] | None,
    user_ids: Sequence[str],
) -> Interactions:
    """One row a request, all of them `Part.TEST`; `Histories.of` then finds each row's own history.

    `histories` are catalogue rows, oldest first; `feedback` lists numbers beside them (NaN: unknown); `items`
    are the candidates, -1 for all where only a history is asked about; `users` are user rows into `user_ids`,
    -1 for unknown. Raises DataError naming the row where lengths differ.
    """
    rows = len(histories)
    for name, values in (("feedback", feedback), ("items", items), ("users", users)):
        if values is not None and len(values) != rows:
            raise DataError(f"requests: {rows} histories, but {len(values)} {name}. Give one for each.")
    columns = {
        USER: _rows(users, rows),
        ITEM: _rows(items, rows),
        HISTORY: pa.array([list(history) for history in histories], pa.large_list(pa.int64())),
    }
    if feedback is not None:
        for row, (history, numbers) in enumerate(zip(histories, feedback, strict=True), start=1):
            if len(history) != len(numbers):
                raise DataError(
                    f"requests, row {row}, 'feedback': {len(numbers)} numbers beside a history of "
                    f"{len(history)} events. Give one an event."
                )
        columns[HISTORY_FEEDBACK] = pa.array([list(n) for n in feedback], pa.large_list(pa.float64()))
    return Interactions(_dataset(columns), list(user_ids), np.full(rows, Part.TEST, np.int8))


def pair_interactions(requests: Interactions, asked: np.ndarray, items: np.ndarray) -> Interactions:
    """A row for each pair of a request, by its row in `requests`, and an item. Histories are not written out again
    for each of a request's items: `Histories.of_rows` finds them."""
    columns = {USER: pa.array(requests.user[asked]), ITEM: pa.array(items)}
    return Interactions(_dataset(columns), requests.user_ids, np.full(len(asked), Part.TEST, np.int8))


def _dataset(columns: dict[str, pa.Array]) -> Dataset:
    # Working out a fingerprint takes longer than answering a request; nothing made of requests is cached by it.
    return Dataset(pa.table(columns), fingerprint="requests")


def _rows(values: Sequence[int] | None, rows: int) -> pa.Array:
    if values is None:
        return pa.array(np.full(rows, NOBODY, np.int64))
    return pa.array(values, pa.int64())

"""Slices: the same metrics for users and items of whom training knows nothing, little or much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lorarec.contracts import Examples, Predictions, Statistics
from lorarec.engine.evaluate import NamedMetric, compute_metrics

FEW = 5
"""Training events up to which a user or an item counts as having few."""
HEAD = 0.2
"""Share of the catalogue, by training events, that is the head of popularity; the others are its tail."""

RULES = {
    "users: cold": "users without a training event",
    "users: few": f"users with 1 to {FEW} training events",
    "users: many": f"users with more than {FEW}",
    "items: unseen": "items without a training event",
    "items: few": f"items with 1 to {FEW} training events",
    "items: many": f"items with more than {FEW}",
    "items: head": f"the {HEAD:.0%} of the catalogue with the most training events",
    "items: tail": "all other items",
}


def slice_metrics(
    predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics
) -> dict[str, dict[str, Any]]:
    """By slice: `rows`, and under `metrics` each metric; None where it is no number (AUC of labels of one class).

    A slice without rows is left out.
    """
    found = {}
    for name, inside in _slices(predictions, examples, statistics):
        if not inside.any():
            continue
        values = compute_metrics(predictions.subset(inside), examples, metrics)
        numbers = {label: None if math.isnan(value) else value for label, value in values.items()}
        found[name] = {"rows": int(inside.sum()), "metrics": numbers}
    return found


def _slices(predictions: Predictions, examples: Examples, statistics: Statistics) -> Iterator[tuple[str, np.ndarray]]:
    """Each slice's name, and [n] true for the rows in it."""
    items = examples.items[predictions.rows]
    of_user = statistics.user_counts[examples.users[predictions.rows]]
    of_item = statistics.item_counts[items]
    for whose, least, counts in (("users", "cold", of_user), ("items", "unseen", of_item)):
        yield f"{whose}: {least}", counts == 0
        yield f"{whose}: few", (counts > 0) & (counts <= FEW)
        yield f"{whose}: many", counts > FEW
    head = _head(statistics.item_counts)[items]
    yield "items: head", head
    yield "items: tail", ~head


def _head(counts: np.ndarray) -> np.ndarray:
    """[N] true for the items of the head; of equally popular ones the first in the catalogue."""
    head = np.zeros(len(counts), bool)
    head[np.argsort(-counts, kind="stable")[: math.ceil(HEAD * len(counts))]] = True
    return head

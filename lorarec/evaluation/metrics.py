"""Metrics of predictions: over all rows, by slices of users and items, and of trivial baselines for comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from lorarec.contracts import Examples, Metric, Predictions, Statistics

FEW = 5
"""Training events up to which a user or an item counts as having few."""
HEAD = 0.2
"""Share of the catalog that is the head of popularity, by training events; the other items are its tail."""

RULES = {
    "users: cold": "users without a training event",
    "users: few": f"users with 1 to {FEW} training events",
    "users: many": f"users with more than {FEW}",
    "items: unseen": "items without a training event",
    "items: few": f"items with 1 to {FEW} training events",
    "items: many": f"items with more than {FEW}",
    "items: head": f"the {HEAD:.0%} of the catalog with the most training events",
    "items: tail": "all other items",
}
"""What each slice holds, for people to read."""


class NamedMetric(NamedTuple):
    """A metric under the name the recipe gave it, such as ndcg@10."""

    label: str
    metric: Metric


def compute_metrics(predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric]) -> dict[str, float]:
    """Each metric's value by its name in the recipe."""
    users = examples.users[predictions.rows]
    values = {}
    for label, metric in metrics:
        given, references = examples.predictor.metric_inputs(metric, predictions, examples)
        computed = metric.module().compute(predictions=given, references=references, users=users)
        values[label] = float(computed[metric.name])
    return values


def shared_metrics(
    predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric], accelerator: Accelerator
) -> dict[str, float]:
    """The same, computed on the main process and sent to the others, so that all make the same decisions."""
    values: list[Any] = [None]
    if accelerator.is_main_process:
        values = [compute_metrics(predictions, examples, metrics)]
    return cast(dict[str, float], broadcast_object_list(values)[0])


def baseline_metrics(
    examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics, frozen: Tensor | None = None
) -> dict[str, dict[str, float]]:
    """Metrics of each baseline by its name, on the same rows as the model's: expected values over ties, which count
    against the model, but must not make it look better than it is.

    `frozen` [N, D]: item vectors of the backbone before training.
    """
    if not len(examples):
        return {}
    predictor = examples.predictor
    baselines = predictor.baselines(examples, [named.metric for named in metrics], statistics, frozen)
    values = {}
    for name, predictions in baselines.items():
        expected = {label: predictor.expected(metric, predictions, examples) for label, metric in metrics}
        rest = compute_metrics(predictions, examples, [named for named in metrics if expected[named.label] is None])
        values[name] = {label: rest[label] if value is None else value for label, value in expected.items()}
    return values


def slice_metrics(
    predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics
) -> dict[str, dict[str, Any]]:
    """The same metrics for users and items with no, few or many training events.

    By slice: `rows`, and under `metrics` each metric; None where it is NaN (AUC of labels of one class). A slice
    without rows is left out.
    """
    by_slice = {}
    for name, inside in _slices(predictions, examples, statistics):
        if not inside.any():
            continue
        values = compute_metrics(predictions.subset(inside), examples, metrics)
        numbers = {label: None if math.isnan(value) else value for label, value in values.items()}
        by_slice[name] = {"rows": int(inside.sum()), "metrics": numbers}
    return by_slice


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
    """[N] true for the items of the head; of equally popular ones, the first in the catalog."""
    head = np.zeros(len(counts), bool)
    head[np.argsort(-counts, kind="stable")[: math.ceil(HEAD * len(counts))]] = True
    return head

"""Trivial baselines, judged on the same rows by the same metrics as the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from lorarec.contracts import Statistics
from lorarec.engine.evaluate import NamedMetric, Predictions, compute_metrics
from lorarec.engine.examples import Examples
from lorarec.engine.rank_baselines import rank_baselines
from lorarec.engine.score_baselines import score_baselines


def baseline_predictions(
    examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics, frozen: Tensor | None = None
) -> dict[str, Predictions]:
    """What each baseline says of every example, by its name.

    For rankings: popularity, most recent (where there are times), nearest text (where `frozen` gives the item vectors
    [N, D] of the backbone before training). For scores: the mean; the item's, the user's and both, where labels are
    the data's own; popularity where they are made by drawing items.
    """
    if not len(examples):
        return {}
    if examples.head.kind == "retrieval":
        k = max((named.metric.k or 0 for named in metrics if named.metric.reads == "lists"), default=0)
        return rank_baselines(examples, statistics, k, frozen)
    rows = np.arange(len(examples))
    no_lists = np.empty((len(rows), 0), np.int64)
    return {name: Predictions(rows, found, no_lists) for name, found in score_baselines(examples, statistics).items()}


def baseline_metrics(
    examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics, frozen: Tensor | None = None
) -> dict[str, dict[str, float]]:
    """Metrics of each baseline by its name."""
    found = baseline_predictions(examples, metrics, statistics, frozen)
    return {name: compute_metrics(predictions, examples, metrics) for name, predictions in found.items()}

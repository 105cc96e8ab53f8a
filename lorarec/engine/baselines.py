"""Trivial baselines, judged on the same rows by the same metrics as the model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lorarec.contracts import Examples, Statistics
from lorarec.engine.evaluate import NamedMetric, compute_metrics


def baseline_metrics(
    examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics, frozen: Tensor | None = None
) -> dict[str, dict[str, float]]:
    """Metrics of each baseline by its name. `frozen` [N, D]: items as the backbone reads them before training."""
    if not len(examples):
        return {}
    found = examples.predictor.baselines(examples, [named.metric for named in metrics], statistics, frozen)
    return {name: compute_metrics(predictions, examples, metrics) for name, predictions in found.items()}

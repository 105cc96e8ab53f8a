"""How often the better one of two is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl

if TYPE_CHECKING:
    import evaluate


def pair_accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    """Share of leads [n] foretold on the right side of 0; a prediction of 0 counts half.

    Raises DataError for a lead of 0, which has no right side.
    """
    even = np.flatnonzero(references == 0)
    if len(even):
        raise DataError(f"Row {even[0]}: a lead of 0 has no right side ({len(even)} such rows). Leave such pairs out.")
    return float(np.mean((1 + np.sign(predictions) * np.sign(references)) / 2))


class PairAccuracy(Metric):
    """Share of pairs of which the better one is told."""

    name = "pair_accuracy"
    summary = "share of pairs whose better one is told; a prediction of 0 counts half"
    reads = "scores"
    label = "rating"
    higher_is_better = True

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, pair_accuracy)


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [PairAccuracy]

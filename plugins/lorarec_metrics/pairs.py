"""How often the better one of two is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl
from lorarec_metrics.weighted_rows import weighted_mean

if TYPE_CHECKING:
    import evaluate


def right_sides(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """[n] 1 for a lead foretold on the right side of 0, 0 for one on the wrong side; a prediction of 0 is worth a half.

    Raises DataError for a lead of 0, which has no right side.
    """
    even = np.flatnonzero(references == 0)
    if len(even):
        raise DataError(f"Row {even[0]}: a lead of 0 has no right side ({len(even)} such rows). Leave such pairs out.")
    right: np.ndarray = (1 + np.sign(predictions) * np.sign(references)) / 2
    return right


def pair_accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    """Share of leads [n] foretold on the right side of 0."""
    return float(right_sides(predictions, references).mean())


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

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(right_sides(predictions, references), weights)


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [PairAccuracy]

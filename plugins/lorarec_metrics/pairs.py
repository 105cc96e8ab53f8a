"""How often it is right which of two items is the better one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl, weighted_mean


class PairAccuracy(Metric):
    """Share of pairs of which the better one is predicted: leads [n] on the right side of 0, where a prediction of 0
    counts half. Raises DataError for a true lead of 0, which has no right side."""

    name = "pair_accuracy"
    summary = "share of pairs whose better one is predicted; a prediction of 0 counts half"
    reads = "scores"
    label = "rating"
    higher_is_better = True

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        even = np.flatnonzero(references == 0)
        if len(even):
            raise DataError(
                f"Row {even[0]}: a lead of 0 has no right side ({len(even)} such rows). Leave such pairs out."
            )
        return weighted_mean((1 + np.sign(predictions) * np.sign(references)) / 2, weights)


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [PairAccuracy]

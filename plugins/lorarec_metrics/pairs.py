"""How often the better one of two items is predicted correctly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl, weighted_mean


class PairAccuracy(Metric):
    """Share of pairs whose better item is predicted: the sign of a predicted difference [n] is right, and a prediction
    of 0 counts half. Raises DataError for a true difference of 0, which has no sign."""

    name = "pair_accuracy"
    summary = "share of pairs whose better one is predicted; a prediction of 0 counts half"
    reads = "scores"
    label = "rating"
    higher_is_better = True

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        ties = np.flatnonzero(references == 0)
        if len(ties):
            raise DataError(
                f"Row {ties[0]}: a difference of 0 has no sign ({len(ties)} such rows). Leave such pairs out."
            )
        return weighted_mean((1 + np.sign(predictions) * np.sign(references)) / 2, weights)


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [PairAccuracy]

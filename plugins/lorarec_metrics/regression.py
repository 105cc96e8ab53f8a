"""How far predicted ratings are from the given ones, in the unit of the ratings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lorarec.contracts import Metric, hookimpl
from lorarec_metrics.weighted_rows import weighted_mean, weighted_ratio

if TYPE_CHECKING:
    import evaluate


def rmse(predictions: np.ndarray, references: np.ndarray) -> float:
    """Root of the mean squared error over all rows."""
    return float(np.sqrt(np.mean((predictions - references) ** 2)))


def user_rmse(predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
    """Each user's own root mean squared error, averaged over users: busy users do not outweigh others."""
    _, group = np.unique(users, return_inverse=True)
    squares = np.bincount(group, weights=(predictions - references) ** 2)
    return float(np.mean(np.sqrt(squares / np.bincount(group))))


def mae(predictions: np.ndarray, references: np.ndarray) -> float:
    """Mean absolute error over all rows."""
    return float(np.mean(np.abs(predictions - references)))


class Rmse(Metric):
    """Root mean squared error."""

    name = "rmse"
    summary = "root mean squared error over all rows"
    reads = "scores"
    higher_is_better = False

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, rmse)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return np.asarray(np.sqrt(weighted_mean((predictions - references) ** 2, weights)))


class UserRmse(Metric):
    """Root mean squared error, averaged over users."""

    name = "user_rmse"
    summary = "root mean squared error of each user, averaged over users"
    reads = "scores"
    higher_is_better = False

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, user_rmse, users=True)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        _, group = np.unique(users, return_inverse=True)
        rows = np.bincount(group)
        errors = np.sqrt(np.bincount(group, weights=(predictions - references) ** 2) / rows)
        return weighted_ratio((errors / rows)[group], (1 / rows)[group], weights)


class Mae(Metric):
    """Mean absolute error."""

    name = "mae"
    summary = "mean absolute error over all rows"
    reads = "scores"
    higher_is_better = False

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, mae)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(np.abs(predictions - references), weights)


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [Rmse, UserRmse, Mae]

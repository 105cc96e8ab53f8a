"""How far predicted ratings are from the given ones, in the unit of the ratings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lorarec.contracts import Metric, hookimpl, weighted_mean, weighted_ratio


class Rmse(Metric):
    """Root mean squared error."""

    name = "rmse"
    summary = "root mean squared error over all rows"
    reads = "scores"
    higher_is_better = False

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return np.asarray(np.sqrt(weighted_mean((predictions - references) ** 2, weights)))


class UserRmse(Metric):
    """Each user's own root mean squared error, averaged over users: busy users do not outweigh others."""

    name = "user_rmse"
    summary = "root mean squared error of each user, averaged over users"
    reads = "scores"
    higher_is_better = False

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

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(np.abs(predictions - references), weights)


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [Rmse, UserRmse, Mae]

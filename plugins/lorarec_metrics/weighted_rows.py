"""Metrics that are means, or ratios of sums, over rows: on many samples of the rows at once."""

from __future__ import annotations

import numpy as np


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[R] the mean of values [n] on samples in which row i stands `weights[r, i]` times [R, n]."""
    return weighted_ratio(values, np.ones(len(values)), weights)


def weighted_ratio(above: np.ndarray, below: np.ndarray, weights: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """[R] the sum of `above` [n] over that of `below` [n] on each sample; `empty` where the latter is 0."""
    sums = weights @ np.stack([above, below], axis=1)
    return np.asarray(np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), empty), where=sums[:, 1] > 0))

"""How well predicted probabilities of a click [n] fit what was clicked [n], 0 or 1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl, weighted_mean, weighted_ratio

BINS = 15
"""Number of equal-width bins of the calibration error, as in Guo et al. (ICML 2017)."""


class Auc(Metric):
    """Area under the ROC curve; NaN where all labels are of one class."""

    name = "auc"
    summary = "area under the ROC curve, ties counting half"
    paper = "Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 2006"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        one_group = np.zeros(len(predictions), np.int64)
        return _areas(predictions, references, one_group, weights)[:, 0]


class Gauc(Metric):
    """AUC within each user, averaged with the user's rows as weights. Users all of whose labels are of one class have
    no AUC and are left out; NaN where none is left."""

    name = "gauc"
    summary = "AUC of each user, weighted by the user's rows; users with one class are left out"
    paper = "Zhu et al., Optimized Cost per Click in Taobao Display Advertising, KDD 2017"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        _, group = np.unique(users, return_inverse=True)
        (areas,) = _areas(predictions, references, group, np.ones((1, len(predictions))))
        has_one = ~np.isnan(areas)
        return weighted_ratio(np.nan_to_num(areas)[group], has_one.astype(np.float64)[group], weights)


class LogLoss(Metric):
    """Negative log-likelihood; probabilities of exactly 0 and 1 are clipped by one rounding step."""

    name = "log_loss"
    summary = "mean negative log-likelihood"
    reads = "scores"
    label = "click"
    higher_is_better = False

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        _check(predictions, references)
        tiny = np.finfo(np.float64).eps
        clipped = np.clip(predictions, tiny, 1 - tiny)
        return weighted_mean(-(references * np.log(clipped) + (1 - references) * np.log1p(-clipped)), weights)


class Accuracy(Metric):
    """Share of rows on the right side of one half."""

    name = "accuracy"
    summary = "share of rows on the right side of one half"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        _check(predictions, references)
        return weighted_mean((predictions >= 0.5) == (references == 1), weights)


class F1(Metric):
    """F1 of class 1; 0 if no row is, or is predicted to be, of class 1."""

    name = "f1"
    summary = "harmonic mean of precision and recall at one half"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        _check(predictions, references)
        positive, true = predictions >= 0.5, references == 1
        return weighted_ratio(2.0 * (positive & true), positive.astype(np.float64) + true, weights, empty=0.0)


class Ece(Metric):
    """Expected calibration error: the gap between mean probability and share of class 1, over the bins."""

    name = "ece"
    summary = "expected calibration error over 15 bins of equal width"
    paper = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017"
    reads = "scores"
    label = "click"
    higher_is_better = False

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        _check(predictions, references)
        bins = np.minimum((predictions * BINS).astype(np.int64), BINS - 1)
        gaps = [np.bincount(bins, weights=row * (predictions - references), minlength=BINS) for row in weights]
        return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1))


def _areas(scores: np.ndarray, labels: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[R, G] AUC of each group, numbered from 0 [n], on R samples in which row i occurs `weights[r, i]` times [R, n];
    NaN for a group with labels of one class.

    The Mann-Whitney form: a row of class 1 beats the rows of class 0 below it, and half of those tied with it.
    scikit-learn's `roc_auc_score` agrees, but sorts again for every sample and every group.
    """
    _check_labels(labels)
    order = np.lexsort((scores, group))
    group, scores, labels, weights = group[order], scores[order], labels[order], weights[:, order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    level = np.cumsum((np.diff(group, prepend=-1) != 0) | (np.diff(scores, prepend=np.nan) != 0))
    lost = np.zeros((len(weights), len(group) + 1))
    np.cumsum(weights * (1 - labels), axis=1, out=lost[:, 1:])
    first, last = np.searchsorted(level, level, "left"), np.searchsorted(level, level, "right")
    beaten = (lost[:, first] + lost[:, last]) / 2 - lost[:, starts[group]]
    wins = np.add.reduceat(weights * labels * beaten, starts, axis=1)
    positive = np.add.reduceat(weights * labels, starts, axis=1)
    pairs = positive * np.diff(lost[:, [*starts, len(group)]], axis=1)
    return np.asarray(np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0))


def _check(predictions: np.ndarray, references: np.ndarray) -> None:
    _check_labels(references)
    outside = np.flatnonzero((predictions < 0) | (predictions > 1))
    if len(outside):
        raise DataError(
            f"This metric needs probabilities between 0 and 1; row {outside[0]} has {predictions[outside[0]]:g}."
        )


def _check_labels(labels: np.ndarray) -> None:
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise DataError(f"This metric needs labels of 0 and 1; row {wrong[0]} has {labels[wrong[0]]:g}.")


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [Auc, Gauc, LogLoss, Accuracy, F1, Ece]

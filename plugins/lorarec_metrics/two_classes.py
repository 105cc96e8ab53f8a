"""The formulas of binary classification, over predicted probabilities [n] and labels [n] of 0 and 1."""

from __future__ import annotations

import numpy as np

from lorarec.contracts import DataError

BINS = 15
"""Equal-width bins of the calibration error, as Guo et al. (ICML 2017) take them."""


def auc(predictions: np.ndarray, references: np.ndarray) -> float:
    """Area under the ROC curve, ties counting half; NaN where all labels are of one class."""
    areas, _ = _grouped_auc(predictions, references, np.zeros(len(predictions), np.int64))
    return float(areas[0])


def gauc(predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
    """AUC of each user, averaged with the user's rows as weights (Zhu et al., KDD 2017).

    Users all of whose labels are of one class have no AUC and are left out; NaN where none is left.
    """
    areas, rows = _grouped_auc(predictions, references, users)
    defined = ~np.isnan(areas)
    return float(np.average(areas[defined], weights=rows[defined])) if defined.any() else float("nan")


def log_loss(predictions: np.ndarray, references: np.ndarray) -> float:
    """Mean negative log-likelihood."""
    return float(np.mean(surprise(predictions, references)))


def surprise(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """[n] negative log-likelihood of each row; probabilities of exactly 0 and 1 are moved in by one rounding step."""
    _check(predictions, references)
    tiny = np.finfo(np.float64).eps
    sure = np.clip(predictions, tiny, 1 - tiny)
    return np.asarray(-(references * np.log(sure) + (1 - references) * np.log1p(-sure)))


def accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    """Share of rows on the right side of one half."""
    return float(np.mean(right(predictions, references)))


def right(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """[n] 1 for each row on the right side of one half, else 0."""
    _check(predictions, references)
    return np.asarray((predictions >= 0.5) == (references == 1), np.float64)


def f1(predictions: np.ndarray, references: np.ndarray) -> float:
    """Harmonic mean of precision and recall at one half; 0 where no row is, or is said to be, of class 1."""
    _check(predictions, references)
    said, true = predictions >= 0.5, references == 1
    wanted = int(said.sum() + true.sum())
    return 2 * int((said & true).sum()) / wanted if wanted else 0.0


def ece(predictions: np.ndarray, references: np.ndarray) -> float:
    """Expected calibration error: the gap between mean probability and share of class 1, over the bins."""
    return float(np.abs(bin_gaps(predictions, references).sum(axis=0)).sum() / len(predictions))


def bin_gaps(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """[n, BINS] each row's probability less its label, in the bin it falls into; 0 elsewhere."""
    _check(predictions, references)
    place = np.minimum((predictions * BINS).astype(np.int64), BINS - 1)
    gaps = np.zeros((len(predictions), BINS))
    gaps[np.arange(len(predictions)), place] = predictions - references
    return gaps


def user_areas(predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n] the AUC of each row's user, and [n] 1 where there is one; 0 elsewhere."""
    areas, _ = _grouped_auc(predictions, references, users)
    _, group = np.unique(users, return_inverse=True)
    return np.nan_to_num(areas)[group], (~np.isnan(areas)).astype(np.float64)[group]


def weighted_auc(predictions: np.ndarray, references: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[R] AUC of samples in which row i stands `weights[r, i]` times [R, n]; NaN for those of one class."""
    _check_labels(references)
    order = np.argsort(predictions, kind="stable")
    scores, labels, weights = predictions[order], references[order], weights[:, order]
    first, last = np.searchsorted(scores, scores, "left"), np.searchsorted(scores, scores, "right")
    below = np.zeros((len(weights), len(scores) + 1))
    np.cumsum(weights * (1 - labels), axis=1, out=below[:, 1:])
    positive = np.flatnonzero(labels)
    mine = weights[:, positive]
    # A positive beats the negatives below it, and half of those level with it.
    wins = (mine * (below[:, first[positive]] + below[:, last[positive]]) / 2).sum(axis=1)
    pairs = mine.sum(axis=1) * below[:, -1]
    return np.asarray(np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0))


def _grouped_auc(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and number of rows of each group; NaN for a group with labels of one class.

    The Mann-Whitney form: the sum of the positives' ranks within their group, ties sharing their mean rank.
    """
    _check_labels(labels)
    _, group = np.unique(groups, return_inverse=True)
    order = np.lexsort((scores, group))
    group, scores, labels = group[order], scores[order], labels[order]
    rows = np.bincount(group)
    rank = np.arange(len(group)) - (np.cumsum(rows) - rows)[group] + 1.0
    fresh = np.ones(len(group), bool)
    fresh[1:] = (group[1:] != group[:-1]) | (scores[1:] != scores[:-1])
    tied = np.cumsum(fresh) - 1
    rank = (np.bincount(tied, weights=rank) / np.bincount(tied))[tied]
    positive = np.bincount(group, weights=labels)
    pairs = positive * (rows - positive)
    wins = np.bincount(group, weights=rank * labels) - positive * (positive + 1) / 2
    return np.divide(wins, pairs, out=np.full(len(rows), np.nan), where=pairs > 0), rows


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

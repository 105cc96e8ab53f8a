"""How well predicted probabilities of a click fit what was clicked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lorarec.contracts import Metric, hookimpl
from lorarec_metrics import two_classes
from lorarec_metrics.weighted_rows import weighted_mean, weighted_ratio

if TYPE_CHECKING:
    import evaluate


class Auc(Metric):
    """Area under the ROC curve."""

    name = "auc"
    summary = "area under the ROC curve, ties counting half"
    paper = "Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 2006"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, two_classes.auc)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return two_classes.weighted_auc(predictions, references, weights)


class Gauc(Metric):
    """AUC within each user."""

    name = "gauc"
    summary = "AUC of each user, weighted by the user's rows; users with one class are left out"
    paper = "Zhu et al., Optimized Cost per Click in Taobao Display Advertising, KDD 2017"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, two_classes.gauc, users=True)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        areas, counted = two_classes.user_areas(predictions, references, users)
        return weighted_ratio(areas, counted, weights)


class LogLoss(Metric):
    """Negative log-likelihood."""

    name = "log_loss"
    summary = "mean negative log-likelihood"
    reads = "scores"
    label = "click"
    higher_is_better = False

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, two_classes.log_loss)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(two_classes.surprise(predictions, references), weights)


class Accuracy(Metric):
    """Share of rows on the right side of one half."""

    name = "accuracy"
    summary = "share of rows on the right side of one half"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, two_classes.accuracy)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(two_classes.right(predictions, references), weights)


class F1(Metric):
    """F1 of class 1."""

    name = "f1"
    summary = "harmonic mean of precision and recall at one half"
    reads = "scores"
    label = "click"
    higher_is_better = True

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, two_classes.f1)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        said, true = predictions >= 0.5, references == 1
        return weighted_ratio(2.0 * (said & true), said.astype(np.float64) + true, weights, empty=0.0)


class Ece(Metric):
    """Expected calibration error."""

    name = "ece"
    summary = "expected calibration error over 15 bins of equal width"
    paper = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017"
    reads = "scores"
    label = "click"
    higher_is_better = False

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        return ArrayMetric(self, two_classes.ece)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        gaps = weights @ two_classes.bin_gaps(predictions, references)
        return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1))


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [Auc, Gauc, LogLoss, Accuracy, F1, Ece]

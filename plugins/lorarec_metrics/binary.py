"""How well predicted probabilities of a click fit what was clicked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lorarec.contracts import Metric, hookimpl
from lorarec_metrics import two_classes

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


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [Auc, Gauc, LogLoss, Accuracy, F1, Ece]

"""Losses of predicted ratings: squared error, Huber, and ordinal regression with learned thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import DataError, Loss, LossFunction, Rows, Statistics, StrictConfig, hookimpl

SMALLEST_SCALE = 1e-3


class Mse(Loss):
    """The square of the difference, which the conditional mean of the label minimizes."""

    name = "mse"
    summary = "squared error"
    shape = "regression"

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return SquaredError()


class SquaredError(LossFunction):
    """(prediction - label) ** 2."""

    def forward(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """[T] of predictions [T] and labels [T]."""
        return (predictions - labels).square()


class Huber(Loss):
    """Squared up to a difference of `delta`, linear beyond: outliers have less influence."""

    name = "huber"
    summary = "squared error, linear for large differences"
    paper = "Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 1964"
    shape = "regression"

    class Config(StrictConfig):
        """Settings of the Huber loss."""

        delta: Annotated[float, Field(gt=0)] = 1.0
        """Difference, in the unit of the label, above which the loss is linear."""

    config: Config

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return HuberError(self.config.delta)


class HuberError(LossFunction):
    """The squared error for small differences, linear for large ones."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self._delta = delta

    def forward(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """[T] of predictions [T] and labels [T]."""
        return 2 * nn.functional.huber_loss(predictions, labels, reduction="none", delta=self._delta)


class Ordinal(Loss):
    """Learned thresholds between the values that labels take, of which only the order is used; the prediction is the
    mean label."""

    name = "ordinal"
    summary = "ordinal regression: learned thresholds between the labels, of which only the order is used"
    paper = "McCullagh, Regression Models for Ordinal Data, Journal of the Royal Statistical Society B 1980"
    shape = "regression"

    def build(self, statistics: Statistics) -> LossFunction:
        """Thresholds between the labels of training. Raises DataError if there are fewer than two."""
        if len(statistics.label_levels) < 2:
            raise DataError("loss 'ordinal' needs at least two different ratings in training; there are fewer.")
        return OrderedCuts(statistics.label_levels)

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError if there are too many different labels to learn a threshold between any two neighbors."""
        different = len(np.unique(labels))
        if different > Statistics.MOST_VALUES:
            raise DataError(
                f"The labels have {different} different values, and loss 'ordinal' learns a threshold between any two "
                f"neighbors: "
                f"{Statistics.MOST_VALUES} at most. Use mse or huber, or round them."
            )


class OrderedCuts(LossFunction):
    """Minus the log-probability of the label, of which only the order is used (McCullagh 1980).

    A prediction is a point on a line that learned thresholds divide into one interval per label value; logistic noise
    of a learned scale is added to it. The answer is the mean label under these probabilities.
    """

    values: Tensor

    def __init__(self, values: Sequence[float]) -> None:
        """`values`: all values of the labels, ascending; thresholds start half-way between neighbors."""
        super().__init__()
        stars = torch.tensor(values, dtype=torch.float32)
        cuts = (stars[1:] + stars[:-1]) / 2
        self.register_buffer("values", stars, persistent=False)
        self.first_cut = nn.Parameter(cuts[0].clone())
        self.log_gaps = nn.Parameter(cuts.diff().log()) if len(cuts) > 1 else None
        self.log_scale = nn.Parameter((0.5 * stars.diff().mean()).log())

    def forward(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """[T] of predictions [T] and the labels [T], each one of `values`."""
        level = torch.searchsorted(self.values, labels.contiguous() - 1e-4)
        above, below = self._log_tails(predictions)
        # P(level) = P(above its lower threshold) - P(above its upper one), without losing digits in the tails.
        upper, lower = above.gather(1, level[:, None]), below.gather(1, level[:, None] + 1)
        width = self._edges().diff()[level].clamp(min=SMALLEST_SCALE)[:, None]
        return -(upper + lower + torch.log(-torch.expm1(-width))).squeeze(1)

    def answer(self, predictions: Tensor) -> Tensor:
        """[T] mean labels of predictions [T]."""
        above, _ = self._log_tails(predictions)
        return self.values[0] + (above.exp()[:, 1:-1] * self.values.diff()).sum(dim=1)

    def _edges(self) -> Tensor:
        """[K + 1] the thresholds in units of the scale, between minus and plus infinity."""
        cuts = self.first_cut[None]
        if self.log_gaps is not None:
            cuts = torch.cat([cuts, self.first_cut + self.log_gaps.exp().cumsum(0)])
        infinite = cuts.new_full((1,), torch.inf)
        return torch.cat([-infinite, cuts / self._scale(), infinite])

    def _log_tails(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """[T, K + 1] log-probabilities of being above, and below, each edge."""
        distance = (predictions / self._scale())[:, None] - self._edges()
        return nn.functional.logsigmoid(distance), nn.functional.logsigmoid(-distance)

    def _scale(self) -> Tensor:
        return self.log_scale.exp().clamp(min=SMALLEST_SCALE)


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Mse, Huber, Ordinal."""
    return [Mse, Huber, Ordinal]

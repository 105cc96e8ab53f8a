"""MSE: the squared error."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from lorarec.contracts import Loss, LossFunction, Statistics, hookimpl


class Mse(Loss):
    """The square of the difference, which the mean of what may be given makes smallest."""

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


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Mse."""
    return [Mse]

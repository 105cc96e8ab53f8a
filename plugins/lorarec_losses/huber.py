"""Huber: a squared error that is linear for large differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, StrictConfig, hookimpl


class Huber(Loss):
    """Squared up to a difference of `delta`, linear beyond: a few wild labels pull less."""

    name = "huber"
    summary = "squared error, linear for large differences"
    paper = "Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 1964"
    shape = "regression"

    class Config(StrictConfig):
        """Settings of the Huber loss."""

        delta: Annotated[float, Field(gt=0)] = 1.0
        """Difference, in the unit of the label, from which on the loss is linear."""

    config: Config

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return HuberError(self.config.delta)


class HuberError(LossFunction):
    """The squared error where that is small."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self._delta = delta

    def forward(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """[T] of predictions [T] and labels [T]."""
        return 2 * nn.functional.huber_loss(predictions, labels, reduction="none", delta=self._delta)


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Huber."""
    return [Huber]

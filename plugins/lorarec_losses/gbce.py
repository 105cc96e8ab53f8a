"""Gbce: generalized binary cross entropy of the target and some drawn items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, StrictConfig, hookimpl


class Gbce(Loss):
    """Binary cross entropy whose probabilities are not too high by the sampling. Items are drawn uniformly."""

    name = "gbce"
    summary = "generalized binary cross entropy (gSASRec) of the target and uniformly drawn items"
    paper = "Petrov and Macdonald, gSASRec, RecSys 2023"
    shape = "contrast"
    uniform_only = True

    class Config(StrictConfig):
        """Settings of the generalized binary cross entropy."""

        calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
        """0 is plain binary cross entropy, 1 makes up for all of the sampling."""

    config: Config

    def build(self, statistics: Statistics) -> LossFunction:
        """For a catalog of this size."""
        return GeneralizedBce(len(statistics.item_counts), self.config.calibration)


class GeneralizedBce(LossFunction):
    """The target's probability is raised to the power beta = 1 + calibration * (K / (N - 1) - 1)."""

    def __init__(self, catalog_size: int, calibration: float) -> None:
        super().__init__()
        self._catalog_size = catalog_size
        self._calibration = calibration

    def forward(self, own: Tensor, others: Tensor, hit: Tensor, expected: Tensor) -> Tensor:
        """[T] of log-odds own [T] and others [T, K]; hit [T, K] where a drawn item is the target, which is left out.
        `expected` is the same for all items that are drawn uniformly, and not read."""
        drawn = (~hit).sum(dim=1)
        beta = 1 + self._calibration * (drawn / (self._catalog_size - 1) - 1)
        positive = beta * nn.functional.softplus(-own)
        negative = nn.functional.softplus(others).masked_fill(hit, 0.0).sum(dim=1)
        return (positive + negative) / (drawn + 1)


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Gbce."""
    return [Gbce]

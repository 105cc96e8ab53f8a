"""BCE: binary cross entropy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, StrictConfig, hookimpl


class Bce(Loss):
    """Minus the log-probability of each label, which calibrated probabilities make smallest."""

    name = "bce"
    summary = "binary cross entropy of each click"
    shape = "binary"

    class Config(StrictConfig):
        """Settings of the binary cross entropy."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Share of each label that is replaced by one half."""

    config: Config

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return BinaryCrossEntropy(self.config.label_smoothing)


class BinaryCrossEntropy(LossFunction):
    """-log sigmoid(logit) of a label of 1, -log(1 - sigmoid(logit)) of 0."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self._smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[T] of logits [T] and labels [T]."""
        labels = labels.lerp(torch.full_like(labels, 0.5), self._smoothing)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Bce."""
    return [Bce]

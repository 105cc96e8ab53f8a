"""Losses of click logits: pointwise, or a liked item against others of the same user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, StrictConfig, hookimpl


class Bce(Loss):
    """Minus the log-probability of each label, which calibrated probabilities minimize."""

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


class Ranking(Loss):
    """A softmax over a liked item and others that were not liked; with one other it is BPR. Adding a constant to all
    logits of a group has no gradient, so probabilities are calibrated only up to a shift."""

    name = "ranking"
    summary = "softmax over a liked item and others of the same user; BPR with one other"
    paper = "Rendle et al., BPR, UAI 2009"
    shape = "ranking"

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return FirstOfSeveral()


class FirstOfSeveral(LossFunction):
    """-log softmax(logits)[0]."""

    def forward(self, logits: Tensor) -> Tensor:
        """[T] of logits [T, 1 + R], the liked item's first."""
        losses: Tensor = -logits.log_softmax(dim=1)[:, 0]
        return losses


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Bce, Ranking."""
    return [Bce, Ranking]

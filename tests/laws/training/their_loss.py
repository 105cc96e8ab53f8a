"""A third-party loss in one file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, StrictConfig, hookimpl


class Focal(Loss):
    """Binary cross entropy with less weight on examples that are already classified well."""

    name = "focal"
    summary = "binary cross entropy with more weight on hard examples"
    paper = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017"
    shape = "binary"

    class Config(StrictConfig):
        """Settings."""

        gamma: Annotated[float, Field(ge=0)] = 2.0
        """Focusing parameter: 0 is plain cross entropy."""

    config: Config

    def build(self, statistics: Statistics) -> LossFunction:
        return FocalLoss(self.config.gamma)


class FocalLoss(LossFunction):
    def __init__(self, gamma: float) -> None:
        super().__init__()
        self._gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        plain = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return (1 - (-plain).exp()) ** self._gamma * plain


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    return [Focal]

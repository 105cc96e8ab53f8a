"""Softmax: which item came next, of the whole catalog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, StrictConfig, hookimpl


class Softmax(Loss):
    """Cross entropy over the whole catalog, which is encoded and scored at each step."""

    name = "softmax"
    summary = "cross entropy over the whole catalog"
    shape = "softmax"

    class Config(StrictConfig):
        """Settings of the softmax."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Share of the target's weight that is spread evenly over the catalog."""

    config: Config

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return CrossEntropy(self.config.label_smoothing)


class CrossEntropy(LossFunction):
    """-log softmax(scores)[target]."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self._smoothing = label_smoothing

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """[T] of scores [T, N] and rows [T]."""
        return nn.functional.cross_entropy(scores, targets, reduction="none", label_smoothing=self._smoothing)


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Softmax."""
    return [Softmax]

"""Losses of the next item: over the whole catalog, or over the target and a few sampled items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
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


class SampledSoftmax(Loss):
    """Cross entropy of each target against sampled items, with logQ correction."""

    name = "sampled_softmax"
    summary = "cross entropy over the target and sampled items, with logQ correction"
    paper = "Bengio and Senecal, Adaptive Importance Sampling, 2008; Yi et al., Sampling-Bias-Corrected, RecSys 2019"
    shape = "contrast"

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return SampledCrossEntropy()


class SampledCrossEntropy(LossFunction):
    """-log(e^own / (e^own + the sum of e^other / expected)).

    For any sampling distribution, the sum of exponentials is an unbiased estimate of that over the whole catalog, and
    equals it where every item is drawn once. Accumulated micro-batches equal one batch if they share the sampled items
    of the whole optimizer step.
    """

    def forward(self, own: Tensor, others: Tensor, hit: Tensor, expected: Tensor) -> Tensor:
        """[T] of scores own [T] and others [T, K]; hit [T, K] where a sampled item is the target, which is left out;
        expected [K] the expected number of draws of each item, divided by its number of draws."""
        negative = (others - expected.log()).masked_fill(hit, float("-inf"))
        logits = torch.cat([own[:, None], negative], dim=1)
        return nn.functional.cross_entropy(logits, torch.zeros_like(own, dtype=torch.int64), reduction="none")


class Gbce(Loss):
    """Binary cross entropy that corrects the overconfidence caused by sampling. Items are sampled uniformly."""

    name = "gbce"
    summary = "generalized binary cross entropy (gSASRec) of the target and uniformly sampled items"
    paper = "Petrov and Macdonald, gSASRec, RecSys 2023"
    shape = "contrast"
    uniform_only = True

    class Config(StrictConfig):
        """Settings of the generalized binary cross entropy."""

        calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
        """0 is plain binary cross entropy, 1 corrects for the sampling fully."""

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
        """[T] of log-odds own [T] and others [T, K]; hit [T, K] where a sampled item is the target, which is left out.
        `expected` is the same for all uniformly sampled items, and is not used."""
        drawn = (~hit).sum(dim=1)
        beta = 1 + self._calibration * (drawn / (self._catalog_size - 1) - 1)
        positive = beta * nn.functional.softplus(-own)
        negative = nn.functional.softplus(others).masked_fill(hit, 0.0).sum(dim=1)
        return (positive + negative) / (drawn + 1)


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Softmax, SampledSoftmax, Gbce."""
    return [Softmax, SampledSoftmax, Gbce]

"""SampledSoftmax: which item came next, of the target and some drawn items."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lorarec.contracts import Loss, LossFunction, Statistics, hookimpl


class SampledSoftmax(Loss):
    """Cross entropy of each target against drawn items, with logQ correction."""

    name = "sampled_softmax"
    summary = "cross entropy over the target and drawn items, with logQ correction"
    paper = "Bengio and Senecal, Adaptive Importance Sampling, 2008; Yi et al., Sampling-Bias-Corrected, RecSys 2019"
    shape = "contrast"

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return SampledCrossEntropy()


class SampledCrossEntropy(LossFunction):
    """-log(e^own / (e^own + the sum of e^other / expected)).

    Whatever the items are drawn by, the sum of exponentials then estimates that over the whole catalog without bias,
    and is that sum where every item is drawn once. Accumulated micro-batches equal one batch where they share the draws
    of the whole optimizer step.
    """

    def forward(self, own: Tensor, others: Tensor, hit: Tensor, expected: Tensor) -> Tensor:
        """[T] of scores own [T] and others [T, K]; hit [T, K] where a drawn item is the target, which is left out;
        expected [K] how often each item was to be expected for each time it was drawn."""
        negative = (others - expected.log()).masked_fill(hit, float("-inf"))
        logits = torch.cat([own[:, None], negative], dim=1)
        return nn.functional.cross_entropy(logits, torch.zeros_like(own, dtype=torch.int64), reduction="none")


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """SampledSoftmax."""
    return [SampledSoftmax]

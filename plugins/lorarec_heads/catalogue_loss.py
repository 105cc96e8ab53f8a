"""Losses over the catalogue: which item came next, of all, or of the target and some others."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def full_softmax(users: Tensor, items: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """[F] cross entropy; users [F, d], items [N, d] of the whole catalogue, target [F]
    rows. `smoothing` is the share of the target's weight that is spread evenly over the catalogue."""
    return nn.functional.cross_entropy(users @ items.T, target, reduction="none", label_smoothing=smoothing)


def sampled_softmax(own: Tensor, others: Tensor, hit: Tensor, expected: Tensor) -> Tensor:
    """[F] cross entropy of each fact's own item against drawn ones.

    own [F] scores of the targets; others [F, K] scores of the drawn items; hit [F, K] where a drawn item is the
    target, which is left out; expected [K] how often each item was to be expected for each time it was drawn. Its
    logarithm is taken from the scores (logQ correction; Bengio and Senecal 2008, Yi et al., RecSys 2019): whatever the
    items are drawn by, the sum of exponentials then estimates that over the whole catalogue without bias, and is that
    sum where every item is drawn once. Accumulated micro-batches equal one batch where they share the draws of the
    whole optimizer step.
    """
    negative = (others - expected.log()).masked_fill(hit, float("-inf"))
    logits = torch.cat([own[:, None], negative], dim=1)
    return nn.functional.cross_entropy(logits, torch.zeros_like(own, dtype=torch.int64), reduction="none")


def gbce(own: Tensor, others: Tensor, hit: Tensor, catalog_size: int, calibration: float) -> Tensor:
    """[F] generalised binary cross entropy (Petrov and Macdonald, gSASRec, RecSys 2023).

    own [F], others [F, K] and hit [F, K] as for the sampled softmax, drawn uniformly. The target's probability is
    raised to the power beta = 1 + calibration * (K / (N - 1) - 1): at calibration 0 this is plain binary cross
    entropy, whose probabilities are too high by the sampling; at 1 they are those of all negatives.
    """
    drawn = (~hit).sum(dim=1)
    beta = 1 + calibration * (drawn / (catalog_size - 1) - 1)
    positive = beta * nn.functional.softplus(-own)
    negative = nn.functional.softplus(others).masked_fill(hit, 0.0).sum(dim=1)
    return (positive + negative) / (drawn + 1)

"""Losses over the catalogue: which item came next, of all, or of the target and some others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def full_softmax(users: Tensor, items: Tensor, target: Tensor) -> Tensor:
    """[] cross entropy summed over F facts; users [F, d], items [N, d] of the whole catalogue, target [F]
    rows."""
    return nn.functional.cross_entropy(users @ items.T, target, reduction="sum")


def sampled_softmax(
    users: Tensor, own: Tensor, others: Tensor, target: Tensor, drawn: Tensor, catalog_size: int
) -> Tensor:
    """[] cross entropy of each fact's own item against items drawn uniformly, summed over F facts.

    users [F, d]; own [F, d] vectors of the targets; others [K, d] vectors of the drawn items; target [F] and
    drawn [K] catalogue rows. A drawn item that is the target is left out. Each other one stands for (N - 1) /
    K' items, so that the loss estimates the full one, and is the full one when all are drawn (Jean et al.,
    ACL 2015). The drawn items must be those of the whole optimizer step: then accumulated micro-batches equal
    one batch.
    """
    hit = drawn == target[:, None]
    left = (~hit).sum(dim=1, keepdim=True).clamp(min=1)
    weight = math.log(catalog_size - 1) - left.log()
    negative = (users @ others.T + weight).masked_fill(hit, float("-inf"))
    logits = torch.cat([(users * own).sum(dim=1, keepdim=True), negative], dim=1)
    return nn.functional.cross_entropy(logits, torch.zeros_like(target), reduction="sum")

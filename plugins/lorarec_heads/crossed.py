"""Facts in which few histories meet many items, as where a catalogue is scored for a few users at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

WASTE = 4
"""A matrix product over all pairs of histories and candidates beats gathering even if only one pair in so many is
wanted."""


class Crossed(NamedTuple):
    """The distinct candidates of F facts, each of which may meet every history."""

    candidates: Tensor
    """[C] places of the items."""
    column: Tensor
    """[F] where the candidate of each fact stands among them."""

    @classmethod
    def of(cls, candidate: Tensor, histories: int) -> Crossed | None:
        """From the candidates [F] of facts that have so many histories between them; None where the facts are few
        beside the pairs, as in training, where every fact has a history of its own."""
        if 2 * histories > len(candidate):
            return None
        distinct, column = torch.unique(candidate, return_inverse=True)
        return cls(distinct, column) if len(distinct) * histories <= WASTE * len(candidate) else None


def history_products(features: Tensor, candidate: Tensor, history: Tensor, owner: Tensor) -> Tensor:
    """[F, L] products of each fact's candidate with the items of its history.

    features [V, d] of distinct items; candidate [F] and history [H, L] places among them; owner [F] which of the H
    histories belongs to each fact.
    """
    crossed = Crossed.of(candidate, len(history))
    if crossed is None:
        return torch.einsum("fd,fld->fl", features[candidate], features[history[owner]])
    every = features[crossed.candidates] @ features[history.flatten()].T
    return every.view(-1, *history.shape)[crossed.column, owner]

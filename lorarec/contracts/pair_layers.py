"""Layers for heads of (user, item) pairs: item embeddings, and comparisons of texts and histories."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

WASTE = 4
"""A matrix product over all pairs of histories and items is faster than gathering, even if only one in this many pairs
is needed."""


class ItemEmbedding(nn.Module):
    """A vector for each of the S items seen in training; 0 for the others, which have no weights.

    The time of an optimizer step and the memory of weights, gradients and moments thus grow with the number of items
    in training, not with the catalog.
    """

    row: Tensor

    def __init__(self, item_counts: np.ndarray, width: int, spread: float) -> None:
        """`item_counts` [N]: training events of each catalog row; `spread`: standard deviation of the initial
        weights."""
        super().__init__()
        seen = torch.from_numpy(np.asarray(item_counts) > 0)
        self.register_buffer("row", torch.where(seen, seen.cumsum(0) - 1, -1), persistent=False)
        # Drawn for all items: the initial weights of an item do not depend on which others were seen.
        self.weight = nn.Parameter((torch.randn(len(seen), width) * spread)[seen])

    def forward(self, items: Tensor) -> Tensor:
        """[V, width] of catalog rows [V]."""
        row = self.row[items]
        return self.weight[row.clamp(min=0)] * (row >= 0)[:, None]


class TextCosine(nn.Module):
    """Unit vectors whose dot product is the cosine of two texts, each dimension weighted and shifted (automatic
    relevance determination; MacKay 1995)."""

    def __init__(self, size: int) -> None:
        """`size`: length of the text vectors."""
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(size))
        self.shift = nn.Parameter(torch.zeros(size))

    def forward(self, texts: Tensor) -> Tensor:
        """[..., D] from text vectors [..., D] of any scale."""
        normalized = nn.functional.layer_norm(texts.float(), texts.shape[-1:])
        return nn.functional.normalize(normalized * self.log_weight.exp() + self.shift, dim=-1)


class PairScore(nn.Module):
    """A small network on the vector of a text that contains a history and an item (`encoding="joint"`).

    Its initial output is 0 for every pair, so that training starts from the rest of the head.
    """

    def __init__(self, size: int, width: int = 64, shifts: bool = True) -> None:
        """`size`: length of the text vectors. `shifts`: whether a bias is added to all scores, which ranking losses
        cannot learn."""
        super().__init__()
        last = nn.Linear(width, 1, bias=shifts)
        for weight in last.parameters():
            nn.init.zeros_(weight)
        self.layers = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.GELU(), last)

    def forward(self, pooled: Tensor) -> Tensor:
        """[V] from [V, D]."""
        scores: Tensor = self.layers(pooled).squeeze(1)
        return scores


def pair_products(items: Tensor, candidate: Tensor, others: Tensor, owner: Tensor) -> Tensor:
    """[T, ...] dot products of each target's item with the features of its history in `others`.

    `items` [V, d]: features of the distinct items of a batch; `candidate` [T]: index of each target's item in them;
    `others` [H, ..., d]: features of each history, such as one vector of its user or one for each event; `owner` [T]:
    index of each target's history. For few histories and many items, as when a catalog is scored for a few users, they
    are computed by one matrix product.
    """
    distinct = _crossed(candidate, len(others))
    if distinct is None:
        return torch.einsum("td,t...d->t...", items[candidate], others[owner])
    every = items[distinct[0]] @ others.flatten(0, -2).T
    return every.view(-1, *others.shape[:-1])[distinct[1], owner]


def _crossed(candidate: Tensor, histories: int) -> tuple[Tensor, Tensor] | None:
    """The distinct candidates [C], and [T] the index of each target's candidate in them; None if the targets are few
    compared with the C x H pairs, as in training, where every target has a separate history."""
    if 2 * histories > len(candidate):
        return None
    distinct, column = torch.unique(candidate, return_inverse=True)
    return (distinct, column) if len(distinct) * histories <= WASTE * len(candidate) else None

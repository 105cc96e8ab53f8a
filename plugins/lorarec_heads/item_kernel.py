"""ItemKernel: how alike two items are, from their text and, if wanted, from weights of their own."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import ItemEmbedding, TextCosine

SMALL = 0.01
"""Spread of freshly drawn id weights: they start next to nothing, so that the text speaks first."""


class ItemKernel(nn.Module):
    """Feature vectors whose dot product is the similarity of two items: a constant + their texts + their ids.

    The constant is what all items share, so it carries the user's bias. Texts are compared by the cosine of
    their vectors, each dimension weighted (automatic relevance determination; MacKay 1995). Ids that training
    never saw have no weights.
    """

    seen: Tensor

    def __init__(self, text_size: int, factors: int, item_counts: np.ndarray) -> None:
        """`text_size`: length of the text vectors, 0 for none; `factors`: weights an item, 0 for none."""
        super().__init__()
        self.register_buffer("seen", torch.from_numpy(np.asarray(item_counts) > 0).float(), persistent=True)
        self.log_constant = nn.Parameter(torch.tensor(math.log(0.2)))
        self.text: TextCosine | None = None
        if text_size:
            self.text = TextCosine(text_size)
            self.log_text = nn.Parameter(torch.tensor(math.log(0.2)))
        self.factors: ItemEmbedding | None = None
        if factors:
            self.factors = ItemEmbedding(item_counts, factors, SMALL)
            self.log_factors = nn.Parameter(torch.zeros(()))

    def forward(self, items: Tensor, texts: Tensor | None) -> Tensor:
        """[V, d] features of catalogue rows [V], whose text vectors are [V, D]."""
        parts = [(0.5 * self.log_constant).exp().expand(len(items), 1)]
        if self.text is not None:
            assert texts is not None
            parts.append((0.5 * self.log_text).exp() * self.text(texts))
        if self.factors is not None:
            parts.append((0.5 * self.log_factors).exp() * self.factors(items))
        return torch.cat(parts, dim=1)

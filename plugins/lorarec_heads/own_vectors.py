"""OwnVectors: weights of each item's own, beside what its text says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class OwnVectors(nn.Module):
    """A vector for each of the S items seen in training; 0 for the others, which have no weights.

    What an optimizer step costs, and what memory weights, gradients and moments take, so grows with the items that
    training can tell something about, not with the catalogue.
    """

    row: Tensor

    def __init__(self, item_counts: np.ndarray, width: int, spread: float) -> None:
        """`item_counts` [N]: training events of each catalogue row; `spread` of the freshly drawn weights."""
        super().__init__()
        seen = torch.from_numpy(np.asarray(item_counts) > 0)
        self.register_buffer("row", torch.where(seen, seen.cumsum(0) - 1, -1), persistent=False)
        # Drawn for all: how an item starts does not depend on which others were seen.
        self.weight = nn.Parameter((torch.randn(len(seen), width) * spread)[seen])

    def forward(self, items: Tensor) -> Tensor:
        """[V, width] of catalogue rows [V]."""
        row = self.row[items]
        return self.weight[row.clamp(min=0)] * (row >= 0)[:, None]

"""ItemTower: the vector of an item, from its text and, if wanted, weights of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import ItemEmbedding

SMALL = 0.02
"""Spread of freshly drawn id weights: they start next to nothing, so that the text speaks first."""


class ItemTower(nn.Module):
    """Projected text + id vector, and a bias that starts at the logarithm of the item's popularity.

    Items never seen in training have neither id vector nor bias of their own: their text alone speaks.
    """

    seen: Tensor

    def __init__(self, text_size: int, width: int, item_counts: np.ndarray, ids: bool, id_dropout: float) -> None:
        super().__init__()
        counts = torch.from_numpy(np.asarray(item_counts)).float()
        self.register_buffer("seen", (counts > 0).float())
        self._id_dropout = id_dropout
        self._scale = text_size**-0.5
        self.level = nn.LayerNorm(text_size, elementwise_affine=False)
        self.project = nn.Linear(text_size, width)
        nn.init.orthogonal_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.text_bias = nn.Linear(text_size, 1, bias=False)
        nn.init.zeros_(self.text_bias.weight)
        self.ids = ItemEmbedding(item_counts, width, SMALL) if ids else None
        self.bias = nn.Parameter(torch.log1p(counts))

    def forward(self, texts: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """[V, d] vectors and [V] biases of catalogue rows [V] with text vectors [V, D]."""
        levelled = self.level(texts.float())
        # Scaled here, not in the weights: Adam's steps would dwarf weights that small.
        vectors = self.project(levelled) * self._scale
        if self.ids is not None:
            vectors = vectors + self._own(items)
        return vectors, self.bias[items] * self.seen[items] + self.text_bias(levelled).squeeze(1)

    def _own(self, items: Tensor) -> Tensor:
        assert self.ids is not None
        own: Tensor = self.ids(items)
        if self.training and self._id_dropout:
            own = own * (torch.rand(len(items), 1, device=own.device) >= self._id_dropout)
        return own

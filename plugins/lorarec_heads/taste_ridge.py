"""TasteRidge: the item's quality, and what the history says of the user's own taste."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import ItemEmbedding
from lorarec_heads.item_quality import ItemQuality
from lorarec_heads.kernel_ridge import kernel_ridge

CONSTANT, TEXT, COLUMN, NOISE = 0.03, 0.03, 0.015, 0.17
"""Variances of a user's leaning, of taste by text and by each column, and of the rest, all of a probability of liking:
to start from. Found on TALLRec's validation rows."""
FACTORS, START = 0.015, 0.1
"""Variance of taste by the items' own factors, to start from; and how large factors are drawn, beside a prior of 1."""


class TasteRidge(nn.Module):
    """liked = mean + quality of the item + taste of the user for it + noise, taste being a Gaussian process over a
    constant (the user's bias), the texts, the columns, and factors of the items' own.

    The quality, most likely a posteriori, is learnt from all facts; taste is solved for in closed form from each
    history (`kernel_ridge`), so that new users need no weights. That each fact is judged by the events before it makes
    the likelihood of a user's whole sequence, by the chain rule.
    """

    def __init__(
        self,
        mean: float,
        seen: np.ndarray,
        text_size: int,
        features: Sequence[np.ndarray],
        unlabelled: float,
        factors: ItemEmbedding | None = None,
    ) -> None:
        """`mean`: share of likes; `seen` [N]: which items may have a quality of their own; `text_size`: 0 to compare no
        texts; `features`: columns of all items [N, F]; `unlabelled`: what an event without feedback counts as (1
        liked, -1 not, 0 nobody knows); `factors`: vectors by which items seen in training are compared besides."""
        super().__init__()
        self._unlabelled = unlabelled
        self._columns = [f"column_{place}" for place in range(len(features))]
        for name, matrix in zip(self._columns, features, strict=True):
            self.register_buffer(name, torch.from_numpy(matrix), persistent=False)
        self.quality = ItemQuality(seen, text_size, [matrix.shape[1] for matrix in features])
        self.factors = factors
        start = [CONSTANT] + [TEXT] * bool(text_size) + [COLUMN] * len(features) + [FACTORS] * (factors is not None)
        self.log_variance = nn.Parameter(torch.tensor(start).log())
        self.log_noise = nn.Parameter(torch.tensor(math.log(NOISE)))
        self.mean = nn.Parameter(torch.tensor(mean))
        # A learnt slope of the quality would undo its prior: smaller weights, scaled up, cost less.
        self._slope = 1 / (mean * (1 - mean))
        self.log_slope = nn.Parameter(torch.tensor(math.log(self._slope)))

    def forward(
        self, items: Tensor, texts: Tensor | None, candidate: Tensor, history: Tensor, owner: Tensor, mask: Tensor,
        liked: Tensor,
    ) -> Tensor:  # fmt: skip
        """[F] logits above the base rate.

        items [V] distinct catalogue rows, their text vectors [V, D]; candidate [F] and history [H, L] places among
        them; owner [F] which of the H histories belongs to each fact; mask [H, L] true where there is an event;
        liked [H, L]: 1 liked, -1 not, 0 unknown.
        """
        unit = None
        if texts is not None:
            unit = nn.functional.normalize(nn.functional.layer_norm(texts, texts.shape[-1:]), dim=-1)
        columns = [self.get_buffer(name)[items] for name in self._columns]
        quality = self.quality(items, unit, columns)
        parts = [torch.ones(len(items), 1, device=items.device), *([] if unit is None else [unit]), *columns]
        if self.factors is not None:
            own = self.factors(items)
            parts.append(own / own.shape[1] ** 0.5)
        scale = (0.5 * self.log_variance).exp()
        features = torch.cat([scale[place] * part for place, part in enumerate(parts)], dim=1)
        liked = torch.where(liked == 0, self._unlabelled, liked)
        residual = (liked + 1) / 2 - self.mean - quality[history]
        known = mask & (liked != 0)
        taste = kernel_ridge(features, candidate, history, owner, residual, known, self.log_noise.exp())
        found: Tensor = self._slope * quality[candidate] + self.log_slope.exp() * taste
        return found

    def penalty(self, items: Tensor, own_share: Tensor, share: Tensor) -> Tensor:
        """[] minus the log of the priors of quality and factors, as `ItemQuality.penalty` counts it."""
        found = self.quality.penalty(items, own_share, share)
        if self.factors is not None:
            found = found + (0.5 * own_share * self.factors(items).square().sum(dim=1)).sum()
        return found

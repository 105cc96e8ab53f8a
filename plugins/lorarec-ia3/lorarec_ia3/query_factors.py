"""QueryFactors: in fused projections, IA3 rescales keys and values but not queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from lorarec.contracts import Callback, TrainState

FUSED = frozenset({"c_attn", "Wqkv"})
"""Projections to query, key and value, stacked in this order: GPT-2, ModernBERT."""


class QueryFactors(Callback):
    """Puts the query's third of each fused vector back to 1 after each optimizer step; keeps no state."""

    name = "ia3_query_factors"
    summary = "holds IA3's factors on queries at 1"

    def __init__(self, factors: Sequence[nn.Parameter]) -> None:
        super().__init__(self.Config())
        self._factors = factors

    def on_optimizer_step(self, state: TrainState) -> None:
        """Factors are [3 D, 1]: query, key, value."""
        with torch.no_grad():
            for factor in self._factors:
                factor[: len(factor) // 3] = 1.0

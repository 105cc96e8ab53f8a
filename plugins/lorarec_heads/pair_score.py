"""PairScore: a small network over the vector of a text that names a history and a candidate."""

from __future__ import annotations

from torch import Tensor, nn


class PairScore(nn.Module):
    """Starts at 0 for every pair, so that training starts from what the head knows without it."""

    def __init__(self, size: int, width: int = 64, shifts: bool = True) -> None:
        """`shifts`: whether a weight is added to all scores alike, which losses that compare cannot teach."""
        super().__init__()
        last = nn.Linear(width, 1, bias=shifts)
        for weight in last.parameters():
            nn.init.zeros_(weight)
        self.layers = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.GELU(), last)

    def forward(self, pooled: Tensor) -> Tensor:
        """[V] from [V, D]."""
        scores: Tensor = self.layers(pooled).squeeze(1)
        return scores

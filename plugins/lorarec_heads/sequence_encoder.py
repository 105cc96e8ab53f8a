"""Sequence encoders: the state of a user after each event, from the vectors of the events."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class CausalTransformer(nn.Module):
    """Self-attention in which an event sees itself and those before it (SASRec; Kang and McAuley, ICDM 2018).

    Pre-norm blocks whose last layers start at 0: at birth the state after an event is that event. Positions
    count from the latest event, and attention has a learned preference for how long ago an event was.
    """

    def __init__(self, width: int, layers: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(length, width))
        self.start = nn.LayerNorm(width, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, length) for _ in range(layers))
        self.end = nn.LayerNorm(width)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        """[B, L, d] from right-aligned events [B, L, d] and mask [B, L]; places without an event get finite
        numbers."""
        length = events.shape[1]
        states = self.dropout(self.start(events) + self.position[-length:])
        causal = torch.ones(length, length, dtype=torch.bool, device=events.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=events.device)
        # Each place sees at least itself, so that no softmax is over nothing.
        visible = (causal & mask[:, None, :]) | itself
        for block in self.blocks:
            states = block(states, visible[:, None])
        ended: Tensor = self.end(states)
        return ended


class Block(nn.Module):
    """Attention, then a feed-forward network, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self._heads = heads
        self.before_attention, self.before_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.ago = nn.Parameter(torch.zeros(heads, length))
        self.out = nn.Linear(width, width)
        last = nn.Linear(4 * width, width)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), last)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.out, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """[B, L, d] from states [B, L, d]; visible [B, 1, L, L] true where the second place may be looked
        at."""
        states = states + self.dropout(self._attention(self.before_attention(states), visible))
        changed: Tensor = states + self.dropout(self.feedforward(self.before_feedforward(states)))
        return changed

    def _attention(self, states: Tensor, visible: Tensor) -> Tensor:
        batch, length, width = states.shape
        split = self.query_key_value(states).view(batch, length, 3, self._heads, width // self._heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        place = torch.arange(length, device=states.device)
        ago = self.ago[:, (place[:, None] - place).clamp(min=0)]
        bias = ago.masked_fill(~visible, float("-inf"))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class RunningMean(nn.Module):
    """The mean of the events so far: no order, next to no weights, a floor for sequence models."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.start = nn.LayerNorm(width, elementwise_affine=False)
        self.end = nn.LayerNorm(width)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        """[B, L, d] from right-aligned events [B, L, d] and mask [B, L]; 0 before the first event, then
        levelled."""
        present = mask[..., None].to(events.dtype)
        total = (self.start(events) * present).cumsum(dim=1)
        ended: Tensor = self.end(total / present.cumsum(dim=1).clamp(min=1))
        return ended


def like_lengths(mask: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows [b] of a right-aligned mask [B, L] whose lengths lie between the same powers of two, and the longest of
    these lengths; at least 1, also for rows without an event."""
    lengths = mask.sum(dim=1).clamp(min=1)
    power = (lengths - 1).clamp(min=1).float().log2().floor()
    for group in sorted(set(power.tolist())):
        rows = (power == group).nonzero()[:, 0]
        yield rows, int(lengths[rows].max())

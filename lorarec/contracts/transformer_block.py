"""TransformerBlock: the building block of the sequence encoders of heads and backbones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def causal_mask(present: Tensor) -> Tensor:
    """[B, 1, L, L] true where a position (third dimension) sees another: earlier ones with an event, and always itself,
    so that no softmax is empty. `present` [B, L] true where there is an event."""
    length = present.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=present.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=present.device)
    return ((earlier & present[:, None, :]) | itself)[:, None]


class TransformerBlock(nn.Module):
    """Self-attention, then a feed-forward network, each on normalized states with a residual connection (pre-norm;
    Xiong et al., ICML 2020). Attention has a relative position bias, one number per head and distance, as in T5
    (Raffel et al., JMLR 2020).

    Its linear layers, which an adapter can wrap: `query_key_value` (fused), `out`, `feedforward.0`, `feedforward.3`.
    """

    def __init__(self, width: int, heads: int, dropout: float, length: int, identity: bool = True) -> None:
        """`heads` divide `width`; sequences have at most `length` positions. `identity`: the last layer of each half
        starts at 0, so that the block starts as the identity. Not for frozen random weights: no layer below such a
        layer would get a gradient."""
        super().__init__()
        self._heads = heads
        self.before_attention, self.before_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.distance_bias = nn.Parameter(torch.zeros(heads, length))
        self.out = nn.Linear(width, width)
        last = nn.Linear(4 * width, width)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), last)
        self.dropout = nn.Dropout(dropout)
        if identity:
            for layer in (self.out, last):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.register_load_state_dict_pre_hook(_read_former_name)  # type: ignore[no-untyped-call]

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """[B, L, D] from states [B, L, D]; `visible` [B, 1, L, L], see `causal_mask`."""
        states = states + self.dropout(self._attention(self.before_attention(states), visible))
        changed: Tensor = states + self.dropout(self.feedforward(self.before_feedforward(states)))
        return changed

    def _attention(self, states: Tensor, visible: Tensor) -> Tensor:
        batch, length, width = states.shape
        split = self.query_key_value(states).view(batch, length, 3, self._heads, width // self._heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        position = torch.arange(length, device=states.device)
        preference = self.distance_bias[:, (position[:, None] - position).clamp(min=0)]
        bias = preference.masked_fill(~visible, float("-inf"))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


def _read_former_name(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Runs up to format 2 call the weights of distances `ago`."""
    if f"{prefix}ago" in weights:
        weights[f"{prefix}distance_bias"] = weights.pop(f"{prefix}ago")

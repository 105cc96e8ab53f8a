"""CausalTransformer: a small transformer over item ids."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

ITEM, HISTORY, PAIR = 0, 1, 2
"""Kinds of views: an item alone, a history, a history with a candidate at its end."""


class SelfAttention(nn.Module):
    """Causal multi-head self-attention; its projections are plain linear layers that an adapter can wrap."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, query_BLD: Tensor, states_BLD: Tensor, allowed_B1LL: Tensor) -> Tensor:
        """[B, L, D] what each position gathers from those it may see."""

        def split(x_BLD: Tensor) -> Tensor:
            return x_BLD.view(*x_BLD.shape[:2], self.heads, -1).transpose(1, 2)

        gathered = nn.functional.scaled_dot_product_attention(
            split(self.query(query_BLD)),
            split(self.key(states_BLD)),
            split(self.value(states_BLD)),
            attn_mask=allowed_B1LL,
            dropout_p=self.dropout if self.training else 0.0,
        )
        mixed: Tensor = self.output(gathered.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention, then a position-wise feed-forward network as wide as its input."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(hidden_size, heads, dropout)
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.feedforward_norm = nn.LayerNorm(hidden_size)
        self.feedforward_in = nn.Linear(hidden_size, hidden_size)
        self.feedforward_out = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states_BLD: Tensor, allowed_B1LL: Tensor) -> Tensor:
        """[B, L, D] new states."""
        query_BLD = self.attention_norm(states_BLD)
        states_BLD = query_BLD + self.attention(query_BLD, states_BLD, allowed_B1LL)
        states_BLD = self.feedforward_norm(states_BLD)
        inner_BLD = self.dropout(torch.relu(self.feedforward_in(states_BLD)))
        new_BLD: Tensor = states_BLD + self.dropout(self.feedforward_out(inner_BLD))
        return new_BLD


class CausalTransformer(nn.Module):
    """Item embeddings and the transformer over them (Kang and McAuley, ICDM 2018; as in their code).

    Positions are counted from the end of the sequence, as left-padding to a fixed length amounts to. Items
    alone do not pass through the blocks.
    """

    def __init__(
        self, catalog_size: int, hidden_size: int, layers: int, heads: int, dropout: float, max_length: int
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(catalog_size + 1, hidden_size, padding_idx=0)
        self.positions = nn.Embedding(max_length, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden_size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden_size)
        for embedding in (self.items, self.positions):
            nn.init.normal_(embedding.weight, std=hidden_size**-0.5)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def forward(self, items: Tensor, kind: Tensor) -> Tensor:
        """[B, L, D] states of left-padded `items` [B, L] (row + 1; 0 is padding) of these kinds [B]."""
        embedded_BLD: Tensor = self.items(items)
        alone_B = kind == ITEM
        if bool(alone_B.all()):
            return embedded_BLD
        length = items.shape[1]
        present_BL = items != 0
        from_end_L = torch.arange(length - 1, -1, -1, device=items.device)
        states_BLD = embedded_BLD * math.sqrt(embedded_BLD.shape[-1]) + self.positions(from_end_L)
        states_BLD = self.dropout(states_BLD)
        # A position always sees itself: some attention kernels make NaN of a row that may see nothing.
        earlier_LL = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()
        itself_LL = torch.eye(length, dtype=torch.bool, device=items.device)
        allowed_B1LL = (earlier_LL & present_BL[:, None, None, :]) | itself_LL
        for block in self.blocks:
            states_BLD = block(states_BLD, allowed_B1LL)
        return torch.where(alone_B[:, None, None], embedded_BLD, self.norm(states_BLD))

"""The weights of the next-item head."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    Encoder,
    IncompatibleError,
    ItemEmbedding,
    Statistics,
    TransformerBlock,
    VectorHead,
    causal_mask,
)
from lorarec_heads.next_item.settings import NextItemSettings

RARE = 5
"""Training events up to which an item is rare."""
SMALL = 0.02
"""Spread of freshly drawn id weights: they start next to nothing, so that the text speaks first."""


class NextItemNetwork(VectorHead):
    """User and item vectors; their last dimension carries the item's bias."""

    boost: Tensor

    def __init__(self, config: NextItemSettings, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self.loss = config.loss.module(statistics)
        # Biases start at the logarithm of popularity; less this, they are log-odds, which sigmoids of losses read.
        self._level = math.log(float((statistics.item_counts + 1).sum()))
        width = config.width
        self.tower = ItemTower(hidden_size, width, statistics.item_counts, config.ids, config.id_dropout)
        rare = torch.from_numpy(np.asarray(statistics.item_counts)) <= RARE
        self.register_buffer("boost", config.rare_boost * rare.float(), persistent=False)
        self.vector_dropout = nn.Dropout(config.vector_dropout)
        self.sequence: nn.Module
        if config.encoder == "transformer":
            self.sequence = CausalTransformer(width, config.layers, config.heads, config.dropout, config.max_history)
        elif config.encoder == "mean":
            self.sequence = RunningMean(width)
        else:
            self.sequence = nn.Sequential(nn.Linear(hidden_size, width), nn.LayerNorm(width))
        self.feedback = nn.Parameter(torch.zeros(3, width)) if config.feedback else None
        self.log_scale: Tensor
        if config.temperature is None:
            self.log_scale = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_scale", torch.tensor(-math.log(config.temperature)))

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] of each of the windows' targets, in order."""
        tensors = batch.tensors
        texts = encode.vectors("items").float()
        states = self._views_read(encode)
        with torch.autocast(texts.device.type, enabled=False):
            vectors, bias = self.tower(texts, tensors["items"])
            vectors = self.vector_dropout(vectors)
            states = self._states(vectors, tensors) if states is None else states
            users = self._users(self._before_targets(self._project(states), tensors["targets"]))
            items = torch.cat([vectors, bias[:, None]], dim=1)
            return self._losses(users, items, tensors)

    def _losses(self, users: Tensor, items: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """[F] from the vectors of users [F, d] and of the batch's items [V, d]."""
        if not self._config.draws:
            target = tensors["targets"][tensors["targets"] >= 0]
            given: tuple[Tensor, ...] = (users @ items.T, target)
        else:
            own, drawn = tensors["own"], tensors["drawn"]
            scores, others = (users * items[own]).sum(dim=1), users @ items[drawn].T
            given = (scores - self._level, others - self._level, drawn == own[:, None], tensors["expected"])
        losses: Tensor = self.loss(*given)
        return losses

    def user_vectors(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B, width + 1] users after their latest event."""
        states = self._views_read(encode)
        if states is None:
            vectors, _ = self.tower(encode.vectors("items"), batch.tensors["items"])
            states = self._states(vectors, batch.tensors)
        return self._users(self._project(states[:, -1]))

    def item_vectors(self, pooled: Tensor, items: Tensor) -> Tensor:
        """[M, width + 1] items to be ranked, their bias last."""
        vectors, bias = self.tower(pooled, items)
        return torch.cat([vectors, (bias + self.boost[items])[:, None]], dim=1)

    def similarity_vectors(self, vectors: Tensor) -> Tensor:
        """[M, width] without the bias: by it, popular items would be similar."""
        return vectors[:, :-1]

    def _views_read(self, encode: Encoder) -> Tensor | None:
        """[B, L or 1, D] what the backbone made of the histories, where it is the sequence encoder."""
        if self._config.encoder == "backbone":
            return encode.vectors("histories").float()[:, None]
        if self._config.encoder == "backbone_steps":
            states = encode.states("histories")
            if states is None:
                raise IncompatibleError(
                    "head.encoder=backbone_steps needs a backbone with a state after each event, such as "
                    "'sasrec'. With "
                    "a text backbone use head.encoder=transformer, or backbone for the history as one text."
                )
            return states.float() if states.shape[1] else states.new_zeros(len(states), 1, states.shape[2]).float()
        return None

    def _states(self, vectors: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """[B, L, width] after each event of the history, over item vectors."""
        history, mask = tensors["history"], tensors["mask"]
        states = vectors.new_zeros(*history.shape, self._config.width)
        # Rows of similar length are read together: most of a rectangle of long and short histories would be padding.
        for rows, length in similar_lengths(mask):
            events = vectors[history[rows, -length:]]
            if self.feedback is not None:
                events = events + self.feedback[tensors["feedback"][rows, -length:]]
            states[rows, -length:] = self.sequence(events, mask[rows, -length:])
        return states

    def _before_targets(self, states: Tensor, targets: Tensor) -> Tensor:
        """[F, width] the states before the targets; both are right-aligned. Raises IncompatibleError if there
        are fewer."""
        length = min(states.shape[1], targets.shape[1])
        wanted = targets >= 0
        if wanted[:, : targets.shape[1] - length].any():
            raise IncompatibleError(
                f"The backbone reads {length} events of histories of {targets.shape[1]}, so that some "
                f"targets would "
                f"have no state before them. Set head.max_history={length}."
            )
        before: Tensor = states[:, -length:][wanted[:, -length:]]
        return before

    def _project(self, states: Tensor) -> Tensor:
        """States of the backbone brought to `width`; those of the head's own encoder have it."""
        if self._config.reads_views:
            projected: Tensor = self.sequence(states)
            return projected
        return states

    def _users(self, states: Tensor) -> Tensor:
        """[..., width + 1]: scaled states, and the 1 that the item's bias is multiplied by."""
        scaled = states * self.log_scale.exp()
        return torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)


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
        """[V, d] vectors and [V] biases of catalog rows [V] with text vectors [V, D]."""
        normalized = self.level(texts.float())
        # Scaled here, not in the weights: Adam's steps would dwarf weights that small.
        vectors = self.project(normalized) * self._scale
        if self.ids is not None:
            vectors = vectors + self._own(items)
        return vectors, self.bias[items] * self.seen[items] + self.text_bias(normalized).squeeze(1)

    def _own(self, items: Tensor) -> Tensor:
        assert self.ids is not None
        own: Tensor = self.ids(items)
        if self.training and self._id_dropout:
            own = own * (torch.rand(len(items), 1, device=own.device) >= self._id_dropout)
        return own


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
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout, length) for _ in range(layers))
        self.end = nn.LayerNorm(width)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        """[B, L, d] from right-aligned events [B, L, d] and mask [B, L]; positions without an event get finite
        numbers."""
        states = self.dropout(self.start(events) + self.position[-events.shape[1] :])
        visible = causal_mask(mask)
        for block in self.blocks:
            states = block(states, visible)
        ended: Tensor = self.end(states)
        return ended


class RunningMean(nn.Module):
    """The mean of the events so far: no order, next to no weights, a floor for sequence models."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.start = nn.LayerNorm(width, elementwise_affine=False)
        self.end = nn.LayerNorm(width)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        """[B, L, d] from right-aligned events [B, L, d] and mask [B, L]; 0 before the first event, then
        normalized."""
        present = mask[..., None].to(events.dtype)
        total = (self.start(events) * present).cumsum(dim=1)
        ended: Tensor = self.end(total / present.cumsum(dim=1).clamp(min=1))
        return ended


def similar_lengths(mask: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows [b] of a right-aligned mask [B, L] whose lengths lie between the same powers of two, and the longest of
    these lengths; at least 1, also for rows without an event."""
    lengths = mask.sum(dim=1).clamp(min=1)
    power = (lengths - 1).clamp(min=1).float().log2().floor()
    for group in sorted(set(power.tolist())):
        rows = (power == group).nonzero()[:, 0]
        yield rows, int(lengths[rows].max())

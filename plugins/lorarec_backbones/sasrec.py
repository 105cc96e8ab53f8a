"""The backbone `sasrec`: item ids instead of words, with weights that start random."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from lorarec.contracts import (
    Architecture,
    Backbone,
    Catalog,
    Encoded,
    Featurizer,
    IncompatibleError,
    LorarecError,
    TransformerBlock,
    View,
    causal_mask,
    hookimpl,
    load_weights,
)
from lorarec_backbones.checkpoint import weights_fingerprint

ITEM, HISTORY, PAIR = 0, 1, 2
"""Kinds of views: an item alone, a history, a history with a candidate at its end."""


class SasrecBackbone(Backbone):
    """Self-attention over the ids of a user's items; an item alone is its embedding.

    The blocks are pre-norm (`TransformerBlock`), where those of the paper normalize only the query: the residual stream
    is not normalized between blocks, attention also learns a bias by distance, and feed-forward layers are four times
    as wide. Nothing is pretrained: with the adapter `full` it is SASRec itself. A batch that contains only item views
    leaves the blocks without gradient, which DDP refuses: a head must encode histories too.
    """

    name = "sasrec"
    summary = "item-id sequences through a small causal transformer, from scratch"
    paper = "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018"

    class Config(Backbone.Config):
        """The transformer's sizes."""

        hidden_size: Annotated[int, Field(ge=1)] = 64
        """Width of embeddings and states."""
        layers: Annotated[int, Field(ge=1)] = 2
        """Blocks."""
        heads: Annotated[int, Field(ge=1)] = 2
        """Attention heads; they divide `hidden_size`."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
        """On embeddings, attention weights and feed-forward layers, while training."""
        max_length: Annotated[int, Field(ge=1)] = 100
        """Number of latest events that are read."""

    config: Config
    _copy: Path | None = None

    def architecture(self) -> Architecture:
        """The sizes of the recipe. Raises LorarecError if the heads do not divide the width."""
        config = self.config
        if config.hidden_size % config.heads:
            raise LorarecError(
                f"backbone.heads {config.heads} does not divide backbone.hidden_size {config.hidden_size}."
            )
        return Architecture(
            backbone=self.name,
            model_type="sasrec",
            takes_past=False,
            adaptable=("query_key_value",),
            feedforward=("feedforward.3",),
            layers=config.layers,
            max_length=config.max_length,
            hidden_size=config.hidden_size,
            blocks="blocks",
        )

    def load(self, catalog: Catalog, seed: int) -> SasrecBackbone:
        """Draw the weights from `seed` (torch's global generator is unchanged), or read the copy.

        Raises LorarecError if the copy belongs to another catalog or other sizes.
        """
        self.architecture()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = SasrecNetwork(catalog_size=len(catalog), **self.config.model_dump())
        if self._copy is not None:
            self._read(self._copy / "model.safetensors")
        self._fingerprint = weights_fingerprint(self.module)
        self._catalog_size = len(catalog)
        return self

    def load_from(self, folder: Path) -> None:
        """Let `load` read the weights that `save` wrote instead of drawing them."""
        self._copy = folder

    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """Views as ids, at most `max_length` and at most the recipe's `backbone.max_length`."""
        return IdFeaturizer(min(max_length, self.config.max_length))

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """The last state of each view; all `states` where every view is a history."""
        hidden: Tensor = module(items=features["items"], kind=features["kind"])
        only_histories = bool((features["kind"] == HISTORY).all())
        return Encoded(pooled=hidden[:, -1].float(), states=hidden if only_histories else None)

    def fingerprint(self) -> str:
        """SHA-256 of the weights as drawn."""
        return self._fingerprint

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write model.safetensors and config.json, the arguments of SasrecNetwork."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), folder / "model.safetensors")
        config = {"model_type": "sasrec", "catalog_size": self._catalog_size, **self.config.model_dump()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def _read(self, file: Path) -> None:
        try:
            self.module.load_state_dict(load_weights(file, self.module.state_dict()))
        except IncompatibleError as error:
            raise LorarecError(
                f"backbone 'sasrec': {error} Train again, or install the lorarec that the run's environment.json names."
            ) from error

    def is_reproducible(self) -> bool:
        """Never: the weights are random, and another version of torch may draw different ones."""
        return False


class SasrecNetwork(nn.Module):
    """Item embeddings and a causal transformer over them, in the pre-norm variant.

    Positions are counted from the end of the sequence, which is equivalent to left-padding to a fixed length. Items
    alone do not pass through the blocks.
    """

    def __init__(
        self, catalog_size: int, hidden_size: int, layers: int, heads: int, dropout: float, max_length: int
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(catalog_size + 1, hidden_size, padding_idx=0)
        self.positions = nn.Embedding(max_length, hidden_size)
        self.dropout = nn.Dropout(dropout)
        # Adapters may leave the blocks as they were drawn, so none of them starts as the identity.
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden_size, heads, dropout, max_length, identity=False) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        for embedding in (self.items, self.positions):
            nn.init.normal_(embedding.weight, std=hidden_size**-0.5)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def forward(self, items: Tensor, kind: Tensor) -> Tensor:
        """[B, L, D] states of left-padded `items` [B, L] (row + 1; 0 is padding) of kind `kind` [B]."""
        embedded: Tensor = self.items(items)
        alone = kind == ITEM
        if bool(alone.all()):
            return embedded
        from_end = torch.arange(items.shape[1] - 1, -1, -1, device=items.device)
        states = self.dropout(embedded * math.sqrt(embedded.shape[-1]) + self.positions(from_end))
        visible = causal_mask(items != 0)
        for block in self.blocks:
            states = block(states, visible)
        return torch.where(alone[:, None, None], embedded, self.norm(states))


@dataclass(frozen=True)
class IdFeaturizer:
    """Makes `items` [B, L] int64 (catalog row + 1, left-padded with 0) and `kind` [B] int64.

    The latest events of a history that fit are kept; a candidate takes the last position. Feedback is not read.
    """

    max_length: int

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Features of B views."""
        items = np.zeros((len(views), max(map(self.length, views))), np.int64)
        kind = np.full(len(views), HISTORY, np.int64)
        for row, view in enumerate(views):
            ids = view.history
            if view.candidate is not None:
                ids = (*view.history, view.candidate)
                kind[row] = PAIR if view.history else ITEM
            if ids:
                kept = ids[-self.max_length :]
                items[row, -len(kept) :] = np.array(kept, np.int64) + 1
        return {"items": torch.from_numpy(items), "kind": torch.from_numpy(kind)}

    def length(self, view: View) -> int:
        """Number of positions a view takes; at least one."""
        events = len(view.history) + (view.candidate is not None)
        return min(max(events, 1), self.max_length)


@hookimpl
def lorarec_backbones() -> Iterable[type[Backbone]]:
    """The backbone of this module."""
    return [SasrecBackbone]

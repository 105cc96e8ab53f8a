"""The backbone `sasrec`: item ids instead of words, with weights that start random."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorarec.contracts import Architecture, Backbone, Catalog, Encoded, Featurizer, LorarecError, hookimpl
from lorarec_backbones.causal_transformer import HISTORY, CausalTransformer
from lorarec_backbones.checkpoint import weights_fingerprint
from lorarec_backbones.id_featurizer import IdFeaturizer


class SasrecBackbone(Backbone):
    """Self-attention over the ids of a user's items; an item alone is its embedding.

    Nothing is pretrained: with the adapter `full` it is SASRec itself. A batch of nothing but item views
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
        """Latest events that are read."""

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
            adaptable=("query", "value"),
            feedforward=("feedforward_out",),
            layers=config.layers,
            max_length=config.max_length,
            hidden_size=config.hidden_size,
            blocks="blocks",
        )

    def load(self, catalog: Catalog, seed: int) -> SasrecBackbone:
        """Draw the weights from `seed` (torch's global generator is left as it was), or read the copy.

        Raises LorarecError if the copy belongs to another catalogue or other sizes.
        """
        self.architecture()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = CausalTransformer(catalog_size=len(catalog), **self.config.model_dump())
        if self._copy is not None:
            self._read(self._copy / "model.safetensors")
        self._fingerprint = weights_fingerprint(self.module)
        self._catalog_size = len(catalog)
        return self

    def use_copy(self, folder: Path) -> None:
        """Let `load` read the weights that `save` wrote instead of drawing them."""
        self._copy = folder

    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """Views as ids, at most `max_length` and at most the recipe's `backbone.max_length`."""
        return IdFeaturizer(min(max_length, self.config.max_length))

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """The last state of each view; all `states` where every view is a history."""
        hidden_BLD: Tensor = module(items=features["items"], kind=features["kind"])
        only_histories = bool((features["kind"] == HISTORY).all())
        return Encoded(pooled=hidden_BLD[:, -1].float(), states=hidden_BLD if only_histories else None)

    def fingerprint(self) -> str:
        """SHA-256 of the weights as drawn."""
        return self._fingerprint

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write model.safetensors and config.json, the arguments of CausalTransformer."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), folder / "model.safetensors")
        config = {"model_type": "sasrec", "catalog_size": self._catalog_size, **self.config.model_dump()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def _read(self, file: Path) -> None:
        try:
            self.module.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise LorarecError(f"backbone 'sasrec': {file} does not hold these weights: {reason}") from error

    def refetchable(self) -> bool:
        """Never: the weights were drawn here, and another torch may draw others."""
        return False


@hookimpl
def lorarec_backbones() -> Iterable[type[Backbone]]:
    """The backbone of this module."""
    return [SasrecBackbone]

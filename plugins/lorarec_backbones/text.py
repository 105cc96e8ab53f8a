"""The backbone `text`: any transformers encoder or decoder, by hub id or local folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Architecture, Backbone, Catalog, Encoded, Featurizer, hookimpl
from lorarec_backbones.checkpoint import Checkpoint
from lorarec_backbones.text_encoder import TextEncoder, TextOptions


class TextBackbone(Backbone):
    """Writes views as words and reads them with a pretrained transformer."""

    name = "text"
    reads_text = True
    reads_feedback = True
    summary = "any Hugging Face encoder or decoder, by hub id or local folder"

    class Config(TextOptions):
        """Which checkpoint, and how it reads."""

        checkpoint: Annotated[str, Field(min_length=1)]
        """Hub id, such as sentence-transformers/all-MiniLM-L6-v2, or a folder written by save_pretrained."""
        revision: str | None = None
        """Commit, branch or tag on the hub. Give a commit: then a run folder needs no copy of the weights."""

        language_model: bool = False
        """Load a decoder's output embeddings too, for heads that ask for logits of its next tokens."""

    config: Config

    @cached_property
    def _encoder(self) -> TextEncoder:
        checkpoint = Checkpoint(self.config.checkpoint, self.config.revision)
        return TextEncoder(self.name, checkpoint, self.config, self.config.language_model)

    def architecture(self) -> Architecture:
        """Read from the configuration. Raises LorarecError if there is none, or an option does not fit."""
        return self._encoder.architecture()

    def user_columns(self) -> tuple[str, ...]:
        """Those that the templates name as {user.NAME}."""
        return self.config.templates.user_columns()

    def load(self, catalog: Catalog, seed: int) -> TextBackbone:
        """Load pretrained weights; nothing is random. Raises LorarecError if some are missing or damaged."""
        self.module, self._fingerprint = self._encoder.load()
        return self

    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """Views as token ids, at most `max_length` and at most the recipe's `backbone.max_length`."""
        return self._encoder.featurizer(catalog, max_length)

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """Hidden states and pooled vectors."""
        return self._encoder.encode(module, features)

    def logits(self, module: nn.Module, features: dict[str, Tensor], tokens: Sequence[str]) -> Tensor:
        """Logits of named tokens after each view's text; with `language_model` alone."""
        return self._encoder.logits(module, features, tokens)

    def frozen_blocks(self, module: nn.Module) -> int:
        """How many of the lowest blocks compute the same at every step, if the encoder can be started above them."""
        return self._encoder.frozen_blocks(module)

    def lower_states(self, module: nn.Module, features: dict[str, Tensor], blocks: int) -> Tensor:
        """Hidden states after the lowest `blocks` blocks."""
        return self._encoder.lower_states(module, features, blocks)

    def encode_above(self, module: nn.Module, features: dict[str, Tensor], blocks: int, states: Tensor) -> Encoded:
        """As `encode`, from the states of the lowest `blocks` blocks on."""
        return self._encoder.encode_above(module, features, blocks, states)

    def fingerprint(self) -> str:
        """SHA-256 of the weights as loaded."""
        return self._fingerprint

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a transformers folder."""
        self._encoder.save(module, folder)

    def use_copy(self, folder: Path) -> None:
        """Read configuration, tokenizer and weights from what `save` wrote."""
        self._encoder = TextEncoder(self.name, Checkpoint(str(folder)), self.config, self.config.language_model)

    def refetchable(self) -> bool:
        """Only a hub id pinned to a commit gives the same weights everywhere."""
        return self._encoder.checkpoint.pinned


@hookimpl
def lorarec_backbones() -> Iterable[type[Backbone]]:
    """The backbone of this module."""
    return [TextBackbone]

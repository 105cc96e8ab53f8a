"""Frozen: no weight of the backbone trains; the baseline for every adapter."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from torch import nn

from lorarec.contracts import OWN_ADAPTER, Adapter, Backbone, TrainingPlan, hookimpl


class Frozen(Adapter):
    """Only the head trains, on the vectors of the pretrained backbone."""

    name = "frozen"
    summary = "the pretrained backbone without changes; only the head trains"
    supports_gradient_checkpointing: ClassVar[bool] = False

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """The backbone's own module, without dropout and without gradients."""
        return backbone.module.requires_grad_(False).eval()

    def disabled(self, module: nn.Module) -> AbstractContextManager[None]:
        """The backbone is unchanged anyway."""
        return nullcontext()

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Writes nothing: there are no trained weights."""

    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        """The backbone's own module."""
        return backbone.module.requires_grad_(False).eval()

    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        """The module itself."""
        return module


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """Frozen."""
    return [Frozen]

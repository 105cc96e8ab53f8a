"""Frozen: nothing of the backbone trains; the floor that every adapter must beat."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from torch import nn

from lorarec.contracts import Adapter, Backbone, TrainingPlan, hookimpl


class Frozen(Adapter):
    """Only the head trains, on the vectors of the backbone as it came."""

    name = "frozen"
    summary = "the backbone as it is; only the head trains"
    supports_gradient_checkpointing: ClassVar[bool] = False

    def attach(self, backbone: Backbone, plan: TrainingPlan) -> nn.Module:
        """The backbone's own module, without dropout and without gradients."""
        return backbone.module.requires_grad_(False).eval()

    def save(self, module: nn.Module, folder: Path) -> None:
        """Writes nothing: there is nothing of its own."""

    def restore(self, backbone: Backbone, folder: Path) -> nn.Module:
        """The backbone's own module."""
        return backbone.module.requires_grad_(False).eval()

    def merge(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """Frozen."""
    return [Frozen]

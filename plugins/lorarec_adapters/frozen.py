"""Frozen: nothing of the backbone trains; the floor that every adapter must beat."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from torch import nn

from lorarec.contracts import OWN_ADAPTER, Adapter, Backbone, TrainingPlan, hookimpl


class Frozen(Adapter):
    """Only the head trains, on the vectors of the backbone as it came."""

    name = "frozen"
    summary = "the backbone as it is; only the head trains"
    supports_gradient_checkpointing: ClassVar[bool] = False

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """The backbone's own module, without dropout and without gradients."""
        return backbone.module.requires_grad_(False).eval()

    def disabled(self, module: nn.Module) -> AbstractContextManager[None]:
        """The backbone computes as it came anyway."""
        return nullcontext()

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Writes nothing: there is nothing of its own."""

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

"""Adapter: decides which weights of a backbone train."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from lorarec.contracts.backbone import Architecture, Backbone
from lorarec.contracts.callback import Callback
from lorarec.contracts.plugin import Plugin


@dataclass(frozen=True)
class TrainingPlan:
    """What an adapter may know of the training ahead."""

    total_steps: int
    """Optimizer steps of the whole run."""
    epochs: int
    seed: int


class Adapter(Plugin):
    """Wraps a backbone's module and says which of its weights train.

    The life of an adapter: `check`, then either `attach` (a new run) or `restore` (a finished one); `penalty` and
    `callbacks` while training; `save` at the end; `merge` when asked for.
    """

    supports_gradient_checkpointing: ClassVar[bool] = True
    """Whether the weights still get their gradients when the backbone recomputes activations in the backward pass.
    It is enabled on `backbone.module` (without re-entrance) before `attach`."""

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError, naming what would work, if this adapter cannot train that architecture.

        Called before any weight is loaded. The default accepts everything.
        """

    def reserved_positions(self) -> int:
        """How many positions of the backbone's context this adapter takes up (prefix tuning: virtual tokens)."""
        return 0

    @abstractmethod
    def attach(self, backbone: Backbone, plan: TrainingPlan) -> nn.Module:
        """Return the module to train in place of `backbone.module`, with `requires_grad` set on what trains.

        Raises IncompatibleError if a setting does not fit the module (a target that matches nothing, say).
        """

    def penalty(self, module: nn.Module) -> Tensor | None:
        """A scalar to add to the training loss of each optimizer step, or None."""
        return None

    def callbacks(self, module: nn.Module) -> Sequence[Callback]:
        """Per-step work on the attached module; its state is kept in checkpoints."""
        return ()

    def learning_rate_scale(self, parameter: str) -> float:
        """Factor on the learning rate of one trainable parameter, by its name in the attached module."""
        return 1.0

    @abstractmethod
    def save(self, module: nn.Module, folder: Path) -> None:
        """Write what `restore` needs into an empty folder; no pickle. Called on one process, with whole weights."""

    @abstractmethod
    def restore(self, backbone: Backbone, folder: Path) -> nn.Module:
        """The module as `save` saw it, for inference, around a freshly loaded backbone."""

    @abstractmethod
    def merge(self, module: nn.Module) -> nn.Module:
        """The plain backbone module with the adapter folded in; may use `module` up.

        Raises IncompatibleError where there is no such thing.
        """

"""Adapter: decides which weights of a backbone train."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from lorarec.contracts.backbone import Architecture, Backbone
from lorarec.contracts.plugin import Plugin
from lorarec.contracts.training import Callback
from lorarec.errors import IncompatibleError

OWN_ADAPTER = "default"
"""Name of the adapter that a run trains; further adapters on the same backbone may have any other names."""


@dataclass(frozen=True)
class TrainingPlan:
    """What an adapter may know about the training run."""

    total_steps: int
    """Optimizer steps of the whole run."""
    epochs: int
    seed: int


class Adapter(Plugin):
    """Wraps a backbone's module and decides which of its weights train.

    Life cycle: `check`, then either `attach` (a new run) or `restore` (a finished one); `penalty` and `callbacks`
    during training; `save` at the end; `merge` on request. Adapters have names, which may be any text. There is no
    global active adapter: the contexts `active` and `disabled` choose the one that calls of the module use.
    """

    supports_gradient_checkpointing: ClassVar[bool] = True
    """Whether the weights get correct gradients when the backbone recomputes activations in the backward pass. This is
    enabled on `backbone.module` (without re-entrance) before `attach`."""

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError, with what would work, if this adapter cannot train that architecture.

        Called before any weight is loaded. The default accepts everything.
        """

    def reserved_positions(self) -> int:
        """How many positions of the backbone's context this adapter takes up (prefix tuning: virtual tokens)."""
        return 0

    @abstractmethod
    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """Return the module to train in place of `backbone.module`, with `requires_grad` set on the weights that train.

        Raises IncompatibleError if a setting does not fit the module (a target that matches nothing, say).
        """

    def warm_start(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Load the weights that `save` wrote into the attached adapter `name`, which then trains from there.

        Raises IncompatibleError if names or shapes differ; the default always raises it.
        """
        raise IncompatibleError(f"Adapter '{self.name}' cannot start from saved weights. Leave train.warm_start out.")

    def add(self, module: nn.Module, backbone: Backbone, folder: Path, name: str) -> None:
        """Load another adapter that `save` wrote onto `module`, for inference, in addition to those it has.

        Raises IncompatibleError if it does not fit; the default always raises it.
        """
        raise IncompatibleError(f"Adapter '{self.name}': a backbone can have only one, so '{name}' cannot be added.")

    def active(self, module: nn.Module, name: str = OWN_ADAPTER) -> AbstractContextManager[None]:
        """Inside the context, calls of `module` use the adapter `name` only, whatever other threads use.

        The default is for adapters of which a backbone can have only one.
        """
        return nullcontext()

    def disabled(self, module: nn.Module) -> AbstractContextManager[None]:
        """Inside the context, calls of `module` give what the bare backbone gives, whatever other threads use.

        Raises IncompatibleError if the original weights are gone; the default always raises it.
        """
        raise IncompatibleError(
            f"Adapter '{self.name}' cannot be disabled: the backbone's original weights are not kept. Use lora."
        )

    def penalty(self, module: nn.Module) -> Tensor | None:
        """A scalar to add to the training loss of each optimizer step, or None."""
        return None

    def callbacks(self, module: nn.Module) -> Sequence[Callback]:
        """Callbacks that work on the attached module at each step; their state is saved in checkpoints."""
        return ()

    def learning_rate_scale(self, parameter: str) -> float:
        """Factor on the learning rate of one trainable parameter, by its name in the attached module."""
        return 1.0

    @abstractmethod
    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Write what `restore` needs into an empty folder; no pickle. Called on one process, with unsharded weights."""

    @abstractmethod
    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        """The module as it was saved, for inference, around a newly loaded backbone.

        Raises IncompatibleError, naming them, if weights are missing, unknown, or of another shape.
        """

    @abstractmethod
    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        """The plain backbone module with the adapter merged into its weights; may modify `module`.

        Raises IncompatibleError if that is not possible.
        """

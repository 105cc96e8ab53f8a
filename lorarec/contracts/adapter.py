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
"""What a run calls the adapter it trains; others that sit beside it have names of their own, any names."""


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
    `callbacks` while training; `save` at the end; `merge` when asked for. Adapters sit under names, which may be any
    text. None is switched on for good: by `active` or `disabled` each call of the module says which one it uses.
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
    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """Return the module to train in place of `backbone.module`, with `requires_grad` set on what trains.

        Raises IncompatibleError if a setting does not fit the module (a target that matches nothing, say).
        """

    def warm_start(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Put the weights that `save` wrote into the attached adapter `name`, from where it then trains.

        Raises IncompatibleError if names or shapes differ; the default raises it always.
        """
        raise IncompatibleError(f"Adapter '{self.name}' cannot start from saved weights. Leave train.warm_start out.")

    def add(self, module: nn.Module, backbone: Backbone, folder: Path, name: str) -> None:
        """Load one more adapter that `save` wrote onto `module`, for inference, beside those that it carries.

        Raises IncompatibleError if it does not fit beside them; the default raises it always.
        """
        raise IncompatibleError(f"Adapter '{self.name}': only one can sit on a backbone, so '{name}' cannot be added.")

    def active(self, module: nn.Module, name: str = OWN_ADAPTER) -> AbstractContextManager[None]:
        """Within, calls of `module` use the adapter `name` alone, whatever other threads ask for.

        The default is for adapters of which only one can sit on a backbone.
        """
        return nullcontext()

    def disabled(self, module: nn.Module) -> AbstractContextManager[None]:
        """Within, calls of `module` give what the bare backbone gives, whatever other threads ask for.

        Raises IncompatibleError where the bare backbone is gone; the default raises it always.
        """
        raise IncompatibleError(
            f"Adapter '{self.name}' cannot be switched off: the backbone as it was is not kept. Use lora."
        )

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
    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Write what `restore` needs into an empty folder; no pickle. Called on one process, with whole weights."""

    @abstractmethod
    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        """The module as `save` saw it, for inference, around a freshly loaded backbone.

        Raises IncompatibleError, naming them, if weights are missing, unknown, or of another shape.
        """

    @abstractmethod
    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        """The plain backbone module with the adapter folded in; may use `module` up.

        Raises IncompatibleError where there is no such thing.
        """

"""Plugins of the training loop: steps, which compute the gradients of an optimizer step, and callbacks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lorarec.contracts.batch import Batch
from lorarec.contracts.plugin import Plugin


class StepContext(Protocol):
    """The argument of a training step: the step's micro-batches, and operations on them."""

    @property
    def batches(self) -> Sequence[Batch]:
        """The micro-batches of this process, on its device; never empty."""

    @property
    def weight(self) -> float:
        """Total weight of the targets of all micro-batches of all processes; each `loss` is divided by it."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """The trainable weights. Their `grad` is None, or zero, when the step begins."""

    @property
    def generator(self) -> torch.Generator:
        """A generator on the CPU with the same numbers on every process and whenever this step is repeated. Numbers for
        one process only, such as dropout, may come from torch's global generator, which the engine has seeded."""

    def loss(self, batch: Batch) -> Tensor:
        """[] the micro-batch's share of the step's loss, by a forward: the shares of all processes add up to it."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to the accumulated ones; scaled if fp16 requires it."""

    def synchronized(self, on: bool) -> AbstractContextManager[None]:
        """Whether processes exchange the gradients of the forwards and backwards inside; on for the last one."""

    def clear(self) -> None:
        """Reset the gradients."""


class TrainingStep(Plugin):
    """Computes the gradients of an optimizer step. Clipping, the update and the schedule come after it.

    It keeps no state between steps, so that a resumed run repeats each step exactly.
    """

    @abstractmethod
    def gradients(self, step: StepContext) -> Tensor:
        """Set the `grad` of each parameter; return [] this process's share of the step's loss, without gradient.

        The weights must not change. On every process, the last backward of each round of gradients is `synchronized`,
        and each process makes the same number of them.
        """


@dataclass
class TrainState:
    """Progress of training. Saved in checkpoints; callbacks may read it, set `stop` and add to `logs`: any other change
    is refused."""

    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Optimizer steps taken."""
    step_in_epoch: int = 0
    """Optimizer steps taken in the current epoch."""
    total_steps: int = 0
    best_metric: float | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0
    stop: bool = False
    """Set it to end training after this step, on all processes at the same step: if only one stops, the others wait
    forever. The reason goes into `stop_reason`."""
    stop_reason: str = ""
    """Ends the sentence "Stopped early: ", without the full stop."""
    loss_since_log: float = 0.0
    steps_since_log: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    """`loss` (the mean since the last logged step), `learning_rate` and `targets_per_second` on logged steps; empty on
    the others. A callback may add numbers, which are logged, too."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the latest evaluation on validation."""


class Callback(Plugin):
    """Every method does nothing unless overridden. Called on every process, in the same order."""

    name = "callback"
    summary = "does nothing"

    def on_fit_start(self, state: TrainState) -> None:
        """Before the first step of a new or resumed run; where it is resumed, after `load_state_dict`."""

    def on_optimizer_step(self, state: TrainState) -> None:
        """After `optimizer.step()`, before the gradients are reset."""

    def on_evaluation_end(self, state: TrainState) -> None:
        """After validation; `state.metrics` is new."""

    def on_epoch_end(self, state: TrainState) -> None:
        """After the last step of an epoch."""

    def on_interrupt(self, state: TrainState) -> None:
        """Instead of `on_fit_end` when a signal ends the run early; the checkpoint is written."""

    def on_error(self, state: TrainState) -> None:
        """Instead of `on_fit_end` when an error ends the run: release resources. Must not raise."""

    def on_fit_end(self, state: TrainState) -> None:
        """After the last step of the run."""

    def state_dict(self) -> dict[str, Any]:
        """State to save in checkpoints: tensors, numbers, strings, and lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`: when a run is resumed, and at its end, with the best step's weights."""

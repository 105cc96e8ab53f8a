"""What a plugin does while training: the gradients of an optimizer step, and work at fixed moments."""

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
    """What a training step is handed: the step's micro-batches, and what it may do with them."""

    @property
    def batches(self) -> Sequence[Batch]:
        """The micro-batches of this process, on its device; never empty."""

    @property
    def weight(self) -> float:
        """What the targets of all micro-batches of all processes weigh together; each `loss` is divided by it."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """What trains. Their `grad` is None, or zero, when the step begins."""

    @property
    def generator(self) -> torch.Generator:
        """Draws on the CPU, the same numbers on every process and whenever this step is taken again. What is drawn for
        one process alone, such as dropout, may come from torch's global generator, which the engine has seeded."""

    def loss(self, batch: Batch) -> Tensor:
        """[] the micro-batch's share of the step's loss, by a forward: all shares of all processes add up to it."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those that are there; scaled where fp16 asks for it."""

    def synchronized(self, on: bool) -> AbstractContextManager[None]:
        """Whether processes exchange the gradients of the forwards and backwards inside; on for the last one."""

    def clear(self) -> None:
        """Forget the gradients."""


class TrainingStep(Plugin):
    """Leaves the gradients that the optimizer moves by. Clipping, the update and the schedule come after it.

    A step holds no state of its own from one step to the next: a resumed run takes each step as it would have been.
    """

    @abstractmethod
    def gradients(self, step: StepContext) -> Tensor:
        """[] this process's share of the step's loss, without gradient, once each parameter's `grad` is there.

        The weights themselves must be as they were. On every process, the last backward of each round of gradients is
        `synchronized`, and each process makes equally many such.
        """


@dataclass
class TrainState:
    """Where training stands. Saved in checkpoints; callbacks may read it and set `stop`."""

    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Optimizer steps taken."""
    step_in_epoch: int = 0
    """Optimizer steps taken in the running epoch."""
    total_steps: int = 0
    best_metric: float | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0
    stop: bool = False
    """Set it to end training after this step, on all processes at the same step: one that stops alone leaves the
    others waiting. The reason goes into `stop_reason`."""
    stop_reason: str = ""
    """Ends the sentence "Stopped early: ", without the full stop."""
    loss_since_log: float = 0.0
    steps_since_log: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    """`loss` (the mean since the last time), `learning_rate` and `facts_per_second` on the steps that log; empty on
    the others."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the latest evaluation on validation."""


class Callback(Plugin):
    """Every method does nothing unless overridden. Called on every process, in the same order."""

    name = "callback"
    summary = "does nothing"

    def on_fit_start(self, state: TrainState) -> None:
        """Before the first step of a new or resumed run; where it is resumed, after `load_state_dict`."""

    def on_optimizer_step(self, state: TrainState) -> None:
        """After `optimizer.step()`, while the gradients are still there."""

    def on_evaluation_end(self, state: TrainState) -> None:
        """After validation; `state.metrics` is new."""

    def on_epoch_end(self, state: TrainState) -> None:
        """After the last step of an epoch."""

    def on_interrupt(self, state: TrainState) -> None:
        """Instead of `on_fit_end` when a signal ends the run early; the checkpoint is written."""

    def on_error(self, state: TrainState) -> None:
        """Instead of `on_fit_end` when an error ends the run: let go of what is held open. Must not raise."""

    def on_fit_end(self, state: TrainState) -> None:
        """After the last step of the run."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a stop: tensors, numbers, strings, and lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave: when a run is resumed, and at its end, with the best step's weights."""

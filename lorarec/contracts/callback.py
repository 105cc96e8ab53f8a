"""Callback: something to do at fixed moments of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lorarec.contracts.plugin import Plugin


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

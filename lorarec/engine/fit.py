"""The training loop: epochs, optimizer steps, evaluation, checkpoints, callbacks."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lorarec.config.recipe import Recipe
from lorarec.contracts import Callback, TrainState
from lorarec.engine.callbacks import CallbackList
from lorarec.engine.checkpoint import Checkpoints
from lorarec.engine.guards import Guards
from lorarec.engine.loader import Loader, StepBatches
from lorarec.engine.optimizer import OptimizerStep
from lorarec.engine.processes import StopSignal
from lorarec.errors import Interrupted, TrainingError, described
from lorarec.evaluation.evaluate import Evaluation

_log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """The result of `Fit.run`."""

    state: TrainState
    evaluation: Evaluation | None
    """The last one on validation, if any; that of the final weights where `state.best_step` is the last step."""
    warnings: dict[str, str]
    """The warnings of the guards, by kind."""


@dataclass
class Fit:
    """The built parts of a run, and the loop over them."""

    recipe: Recipe
    accelerator: Accelerator
    model: nn.Module
    optimizer_step: OptimizerStep
    loader: Loader
    callbacks: CallbackList
    guards: Guards
    checkpoints: Checkpoints
    validate: Callable[[], Evaluation | None]
    """Evaluates the current weights on validation; None where there is no validation part."""
    is_better: Callable[[float, float | None], bool]
    """Whether the first metric's value beats the best so far."""
    monitor: str
    mark: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Marks a part of the step for a profile: `torch.profiler.record_function` if the run is profiled."""
    state: TrainState = field(default_factory=TrainState)
    _loss: Tensor = field(default_factory=lambda: torch.zeros(()))
    _targets: int = 0
    _evaluation: Evaluation | None = None
    _since: float = field(default_factory=time.perf_counter)

    def resume(self) -> None:
        """Restore the state of the latest checkpoint, if there is one; `state.best_step` names the best one,
        whose weights are restored when training has ended."""
        if steps := self.checkpoints.steps():
            self.state = self.checkpoints.load(steps[-1])

    def run(self) -> Trained:
        """Train to the end, or raise Interrupted after writing a checkpoint."""
        try:
            self._run()
        except Interrupted:
            raise
        except BaseException:
            try:
                self.callbacks.call(Callback.on_error, self.state)
            except BaseException as another:  # it must not hide why training ended
                _log.warning("After an error in training, a callback failed in on_error: %s.", described(another))
            raise
        return Trained(self.state, self._evaluation, dict(self.guards.warnings))

    def _run(self) -> None:
        state = self.state
        self._loss = self._loss.to(self.accelerator.device)
        self.callbacks.call(Callback.on_fit_start, state)
        self.model.train()
        with StopSignal() as signal:
            while state.step < state.total_steps and not state.stop:
                for step_batches in self._steps():
                    count, weight, stop = self._agree(step_batches, signal.requested)
                    if stop:
                        self._interrupt()
                    self._step(step_batches, count, weight)
                    if state.step >= state.total_steps or state.stop:
                        break
            if self._sum(int(signal.requested))[0]:  # since the last step began
                self._interrupt()
        self.callbacks.call(Callback.on_fit_end, state)

    def _steps(self) -> Iterator[StepBatches]:
        """The remaining steps of the epoch."""
        steps = self.loader.steps(self.state.epoch, start=self.state.step_in_epoch)
        while True:
            with self.mark("data"):
                step_batches = next(steps, None)
            if step_batches is None:
                return
            yield step_batches

    def _step(self, step_batches: StepBatches, count: int, weight: float) -> None:
        """One optimizer step over its micro-batches, then evaluation and checkpoint if they are due."""
        state, step = self.state, self.optimizer_step
        loss = step.gradients(step_batches, weight, state.step)
        if state.step == 0:
            step.refuse_missing_gradients()
        moved = step.update()
        state.step += 1
        state.step_in_epoch += 1
        self._log(loss, count)
        if moved:
            self.callbacks.call(Callback.on_optimizer_step, state)  # gradients are still here
        step.clear()
        self._end_of_step()

    def _agree(self, step_batches: StepBatches, stop: bool) -> tuple[int, float, bool]:
        """The count and weight of the step's targets over all processes, and whether any process was asked to stop."""
        count, weight, stops = self._sum(step_batches.count, step_batches.weight, int(stop))
        return int(count), weight, bool(stops)

    def _sum(self, *mine: float) -> list[float]:
        """The sums of these numbers over all processes."""
        if self.accelerator.num_processes == 1:
            return list(mine)
        numbers = torch.tensor(mine, dtype=torch.float64).to(self.accelerator.device)
        sums: list[float] = self.accelerator.reduce(numbers, reduction="sum").tolist()
        return sums

    def _end_of_step(self) -> None:
        """Evaluation, the end of the epoch, and the checkpoint, in this order: a resumed run repeats none of it."""
        state, recipe = self.state, self.recipe
        epoch_ends = state.step_in_epoch == self.loader.steps_per_epoch
        run_ends = state.step == state.total_steps
        every = recipe.evaluate.every
        if run_ends or (epoch_ends if every == "epoch" else state.step % every == 0):
            self._evaluate()
        if epoch_ends:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
            self.callbacks.call(Callback.on_epoch_end, state)
        save_every = recipe.train.save_every
        due = epoch_ends if save_every == "epoch" else save_every != "never" and state.step % save_every == 0
        if due or state.best_step == state.step:
            self._save()

    def _evaluate(self) -> None:
        state = self.state
        with self.mark("evaluation"):
            self._evaluation = evaluation = self.validate()
        if evaluation is None:
            return
        state.metrics = evaluation.metrics
        value = state.metrics[self.monitor]
        if math.isnan(value):
            raise TrainingError(
                f"{self.monitor} is not a number on validation (labels of one class only?), so no checkpoint could be "
                "chosen by it. Name another metric first in evaluate.metrics, or give validation more rows."
            )
        if self.is_better(value, state.best_metric):
            state.best_metric, state.best_step, state.evaluations_since_best = value, state.step, 0
        else:
            state.evaluations_since_best += 1
        self.guards.on_evaluation(evaluation)
        self.callbacks.call(Callback.on_evaluation_end, state)

    def _log(self, loss: Tensor, count: int) -> None:
        """Every `log_every` steps, log the mean loss since the last log; raise TrainingError if it is not finite."""
        state, train = self.state, self.recipe.train
        self._loss = self._loss + loss
        self._targets += count
        state.steps_since_log += 1
        state.logs = {}
        if state.step % train.log_every and state.step not in (1, state.total_steps):
            return
        self._fold_loss()
        mean = state.loss_since_log / state.steps_since_log
        seconds = max(time.perf_counter() - self._since, 1e-6)  # some clocks stand still for a while
        rate = float(self.optimizer_step.schedule.get_last_lr()[0])
        state.logs = {"loss": mean, "learning_rate": rate, "targets_per_second": self._targets / seconds}
        state.loss_since_log, state.steps_since_log = 0.0, 0
        self._targets, self._since = 0, time.perf_counter()
        if not math.isfinite(mean):
            raise TrainingError(
                f"The loss is {mean} at step {state.step}. Lower train.learning_rate, or use train.precision=fp32 or "
                "bf16 instead of fp16."
            )

    def _fold_loss(self) -> None:
        # The running loss stays on the device, a share on each process, so that a step need not wait for it.
        self._loss = self.accelerator.reduce(self._loss, reduction="sum")
        self.state.loss_since_log += float(self._loss)
        self._loss = torch.zeros_like(self._loss)

    def _save(self) -> None:
        with self.mark("checkpoint"):
            self._fold_loss()
            self.checkpoints.save(self.state)

    def _interrupt(self) -> None:
        self._save()
        self.callbacks.call(Callback.on_interrupt, self.state)
        raise Interrupted(
            f"Stopped after step {self.state.step} of {self.state.total_steps}. Checkpoint: "
            f"{self.checkpoints.path(self.state.step)}. The same command with --resume continues from there."
        )

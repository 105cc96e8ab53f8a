"""Built-in callbacks: a list of callbacks, early stopping, and a progress report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lorarec.contracts import Callback, StrictConfig, TrainState
from lorarec.engine.checkpoint_files import packed
from lorarec.errors import CheckpointError, PluginError


class CallbackList:
    """Calls each callback in order; its state is saved under its index and name."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = list(callbacks)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def call(self, method: Callable[[Callback, TrainState], None], state: TrainState) -> None:
        """Call a method of each callback, such as `Callback.on_epoch_end`."""
        for callback in self.callbacks:
            before = _fixed(state)
            getattr(callback, method.__name__)(state)
            after = _fixed(state, before["logs"])
            # A loss that is NaN equals nothing, itself included, but is the same object.
            if changed := [n for n, value in before.items() if value is not after[n] and value != after[n]]:
                raise PluginError(
                    f"Callback '{callback.name}' changed state.{changed[0]} in {method.__name__}: of the progress of "
                    "training, a callback may set `stop` and `stop_reason` alone, and add to `logs`."
                )
            if not (isinstance(state.stop, bool) and isinstance(state.stop_reason, str)):
                raise PluginError(
                    f"Callback '{callback.name}' set state.stop to a {type(state.stop).__name__} and state.stop_reason "
                    f"to a {type(state.stop_reason).__name__}: they must be true or false, and a text."
                )

    def state_dict(self) -> dict[str, Any]:
        """The states of all callbacks that have one. Raises PluginError naming a callback whose state a checkpoint
        could not be read with."""
        states = {key: callback.state_dict() for key, callback in self._keyed()}
        for key, state in states.items():
            _check_plain(key.split(":", 1)[1], state)
        return {key: state for key, state in states.items() if state}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        """Restore each callback's state. Raises CheckpointError if a state belongs to none of them."""
        keyed = dict(self._keyed())
        if unknown := sorted(set(states) - set(keyed)):
            raise CheckpointError(f"The checkpoint holds the state of callbacks this run does not have: {unknown}.")
        for key, state in states.items():
            keyed[key].load_state_dict(state)

    def _keyed(self) -> Iterator[tuple[str, Callback]]:
        return ((f"{index}:{callback.name}", callback) for index, callback in enumerate(self.callbacks))


def _fixed(state: TrainState, names: Iterable[str] | None = None) -> dict[str, Any]:
    """What callbacks may read and not change; of the logs, the entries `names`, or all."""
    fixed = {name: value for name, value in vars(state).items() if name not in ("stop", "stop_reason")}
    logs = {name: state.logs.get(name) for name in (state.logs if names is None else names)}
    return fixed | {"logs": logs, "metrics": dict(state.metrics)}


def _check_plain(callback: str, state: dict[str, Any]) -> None:
    """Raises PluginError naming the callback for a state that a checkpoint cannot keep."""
    if not isinstance(state, dict):
        raise PluginError(f"Callback '{callback}': `state_dict` gives a {type(state).__name__}, and no dict.")
    try:
        packed(state, {}, callback)
    except CheckpointError as error:
        raise PluginError(
            f"Callback '{callback}': its state cannot be read from a checkpoint, because it holds other objects than "
            "numbers, text and tensors, and lists and dicts of them. Return only these from `state_dict`."
        ) from error


class EarlyStopping(Callback):
    """Stops after `patience` evaluations without a better value of the first metric."""

    name = "early_stopping"
    summary = "stop when validation no longer improves"

    class Config(StrictConfig):
        """See `evaluate.patience`."""

        patience: int
        """Number of evaluations without improvement after which training stops."""

    config: Config

    def on_evaluation_end(self, state: TrainState) -> None:
        if state.evaluations_since_best >= self.config.patience:
            state.stop = True
            state.stop_reason = (
                f"no better value on validation in {state.evaluations_since_best} evaluations "
                f"(best at step {state.best_step})"
            )


class ProgressReport(Callback):
    """Shows loss, throughput, time left and validation metrics on stderr: a bar on a terminal, else plain lines."""

    name = "progress"
    summary = "show the progress of training"

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(self.Config())
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._metrics = ""
        self._first_step = 0
        self._started = 0.0

    def on_fit_start(self, state: TrainState) -> None:
        self._first_step, self._started = state.step, time.perf_counter()
        if state.step:
            self._line(f"Resumed after step {state.step} of {state.total_steps}.")
        if not self._console.is_terminal:
            return
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[metrics]}"),
            TextColumn("time left"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("train", total=state.total_steps, completed=state.step, metrics="")
        self._bar.start()

    def on_optimizer_step(self, state: TrainState) -> None:
        if "loss" in state.logs:
            self._metrics = f"loss {state.logs['loss']:.4f}  {state.logs['targets_per_second']:.0f} targets/s"
            if self._bar is None:
                self._line(f"step {state.step}/{state.total_steps}  {self._metrics}  time left {self._left(state)}")
        if self._bar is not None:
            self._bar.update(self._task, completed=state.step, metrics=self._metrics)

    def on_evaluation_end(self, state: TrainState) -> None:
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in state.metrics.items())
        best = "  (best so far)" if state.best_step == state.step else ""
        self._line(f"step {state.step}: validation  {metrics}{best}")

    def on_interrupt(self, state: TrainState) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_error(self, state: TrainState) -> None:
        self.on_interrupt(state)

    def on_fit_end(self, state: TrainState) -> None:
        self.on_interrupt(state)
        if state.stop_reason:
            self._line(f"Stopped early: {state.stop_reason}.")

    def _left(self, state: TrainState) -> str:
        done = state.step - self._first_step
        seconds = max(0.0, time.perf_counter() - self._started) / max(1, done) * (state.total_steps - state.step)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

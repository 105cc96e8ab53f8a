"""Tracking: the logs and metrics of a run, in history.jsonl and in accelerate's experiment trackers."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from lorarec.contracts import Callback, TrainState
from lorarec.disk import write_text
from lorarec.errors import RecipeError

_log = logging.getLogger(__name__)


class HistoryFile(Callback):
    """Appends to history.jsonl one line of JSON for each logged step and each evaluation.

    A resumed run first drops the lines written after its checkpoint.
    """

    name = "history_file"
    summary = "write history.jsonl"

    def __init__(self, path: Path) -> None:
        super().__init__(self.Config())
        self.path = path
        self._started = time.perf_counter()

    def on_fit_start(self, state: TrainState) -> None:
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n") if self.path.exists() else []
        steps = [(line, _step(line)) for line in lines if line]
        if broken := sum(step is None for _, step in steps):
            _log.warning("%s: %d of its lines cannot be read, and are left out.", self.path, broken)
        kept = [line for line, step in steps if step is not None and step <= state.step]
        write_text(self.path, "".join(f"{line}\n" for line in kept))

    def on_optimizer_step(self, state: TrainState) -> None:
        if "loss" in state.logs:
            self._append(state, {name: float(f"{value:.6g}") for name, value in state.logs.items()})

    def on_evaluation_end(self, state: TrainState) -> None:
        self._append(state, {f"validation_{name}": value for name, value in state.metrics.items()})

    def _append(self, state: TrainState, values: dict[str, float]) -> None:
        seconds = round(time.perf_counter() - self._started, 3)
        entry = {"step": state.step, "epoch": state.epoch, **values, "seconds": seconds}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _step(line: str) -> int | None:
    """The step of a line of history.jsonl; None for another text, such as a line that a killed process left."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None


def check_trackers(names: tuple[str, ...]) -> None:
    """Raises RecipeError if accelerate does not know a tracker, naming those it knows, or its package is missing."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = {str(getattr(name, "value", name)) for name in LOGGER_TYPE_TO_CLASS}
    installed = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    for name in names:
        if name not in known:
            raise RecipeError(
                f"train.trackers: accelerate knows no tracker '{name}'. It knows: {', '.join(sorted(known))}."
            )
        if name not in installed:
            hint = "pip install lorarec[tracking]" if name == "tensorboard" else f"pip install {name}"
            raise RecipeError(f"train.trackers: the package of '{name}' is not installed. Try: {hint}.")


class Tracking(Callback):
    """Logs to the trackers of `train.trackers` what history.jsonl holds."""

    name = "tracking"
    summary = "log to experiment trackers"

    def __init__(self, accelerator: Accelerator, run: str, settings: dict[str, Any]) -> None:
        super().__init__(self.Config())
        self._accelerator = accelerator
        self._run = run
        self._settings = settings

    def on_fit_start(self, state: TrainState) -> None:
        self._accelerator.init_trackers(self._run, config=self._settings)

    def on_optimizer_step(self, state: TrainState) -> None:
        if "loss" in state.logs:
            self._accelerator.log(dict(state.logs), step=state.step)

    def on_evaluation_end(self, state: TrainState) -> None:
        self._accelerator.log({f"validation/{name}": v for name, v in state.metrics.items()}, step=state.step)

    def on_interrupt(self, state: TrainState) -> None:
        self._accelerator.end_training()

    def on_fit_end(self, state: TrainState) -> None:
        self._accelerator.end_training()

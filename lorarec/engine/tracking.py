"""Tracking: hand logs and metrics to accelerate's experiment trackers."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator

from lorarec.contracts import Callback, TrainState
from lorarec.errors import RecipeError


def check_trackers(names: tuple[str, ...]) -> None:
    """Raises RecipeError, naming what there is, if accelerate does not know a tracker or its package is absent."""
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
    """Logs what history.jsonl holds to the trackers of `train.trackers`."""

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

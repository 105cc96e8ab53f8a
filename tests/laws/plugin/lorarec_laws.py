"""A third-party callback for these tests: sends this process a signal at a chosen step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from lorarec.contracts import Callback, TrainState, hookimpl


class StopAt(Callback):
    """Reads LAW_STOP="SIGTERM:7" (signal, step) from the environment, so that the recipe stays the same."""

    name = "stop_at"
    summary = "send this process a signal at a step"

    def on_optimizer_step(self, state: TrainState) -> None:
        number, _, step = os.environ.get("LAW_STOP", ":-1").partition(":")
        if state.step == int(step):
            os.kill(os.getpid(), signal.Signals[number])


@hookimpl
def lorarec_callbacks() -> Iterable[type[Callback]]:
    """The callbacks of this module."""
    return [StopAt]

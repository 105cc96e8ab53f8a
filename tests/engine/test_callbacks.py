"""Callbacks: the progress bar on a terminal, and states that a checkpoint keeps."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from lorarec.contracts import Callback, TrainState
from lorarec.engine.callbacks import CallbackList, ProgressReport
from lorarec.errors import PluginError

SHOW_CURSOR = "\x1b[?25h"


def test_an_error_restores_the_cursor_of_the_terminal() -> None:
    screen = io.StringIO()
    report = ProgressReport(Console(file=screen, force_terminal=True))
    report.on_fit_start(TrainState(total_steps=3))
    assert not screen.getvalue().endswith(SHOW_CURSOR)
    report.on_error(TrainState(step=1, total_steps=3))
    assert SHOW_CURSOR in screen.getvalue()


class Keeps(Callback):
    """A callback with a state."""

    name = "keeps"
    summary = "keeps a state"

    def __init__(self, state: Any) -> None:
        super().__init__(self.Config())
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}


@pytest.mark.parametrize("state", [1, "text", None, [1.5, {"a": torch.zeros(2)}], {"ranks": (1, 2)}])
def test_a_state_of_plain_values_and_tensors_is_kept(state: Any) -> None:
    assert CallbackList([Keeps(state)]).state_dict()["0:keeps"]["state"] == state


@pytest.mark.parametrize(
    "state", [Path("here"), object(), np.float64(1), {1, 2}, b"x", torch.float32, lambda: None], ids=str
)
def test_a_state_that_no_checkpoint_could_be_read_with_is_refused_by_the_name_of_the_callback(state: Any) -> None:
    with pytest.raises(PluginError, match="Callback 'keeps': its state cannot be read from a checkpoint"):
        CallbackList([Keeps(state)]).state_dict()


def test_a_resumed_run_says_where_it_continues() -> None:
    screen = io.StringIO()
    ProgressReport(Console(file=screen)).on_fit_start(TrainState(step=2, total_steps=3))
    assert "Resumed after step 2 of 3." in screen.getvalue()


class Changes(Callback):
    """A callback that counts steps itself."""

    name = "changes"
    summary = "changes the step"

    def on_optimizer_step(self, state: TrainState) -> None:
        state.step += 1


def test_a_callback_that_changes_the_step_is_named_and_one_that_sees_a_loss_that_is_nan_is_not() -> None:
    state = TrainState(loss_since_log=float("nan"), metrics={"rmse": float("nan")})
    CallbackList([Keeps(None)]).call(Callback.on_optimizer_step, state)
    with pytest.raises(PluginError, match=r"Callback 'changes' changed state\.step in on_optimizer_step"):
        CallbackList([Changes(Changes.Config())]).call(Callback.on_optimizer_step, state)

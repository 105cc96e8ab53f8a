"""Built-in callbacks: the progress bar on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from lorarec.contracts import TrainState
from lorarec.engine.callbacks import ProgressReport

SHOW_CURSOR = "\x1b[?25h"


def test_an_error_restores_the_cursor_of_the_terminal() -> None:
    screen = io.StringIO()
    report = ProgressReport(Console(file=screen, force_terminal=True))
    report.on_fit_start(TrainState(total_steps=3))
    assert not screen.getvalue().endswith(SHOW_CURSOR)
    report.on_error(TrainState(step=1, total_steps=3))
    assert SHOW_CURSOR in screen.getvalue()

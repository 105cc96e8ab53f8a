"""Profile: trace a few steps of a run, and say where their time goes."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile, schedule

from lorarec.contracts import Callback, TrainState
from lorarec.engine.profile_table import profile_table

WARM_UP = 2
"""Steps before the first one that counts: allocators, caches and the profiler itself are slow at first."""
STEPS = 6
TRACE, TABLE = "trace.json.gz", "steps.md"


class Profile(Callback):
    """Writes a trace for Perfetto or chrome://tracing and a table of where a step goes, which it prints as well.

    Covers the first steps that this process takes, after a warm-up, so that a resumed run has its own. The main process
    alone is traced.
    """

    name = "profile"
    summary = "trace a few steps and show where they go"

    def __init__(self, folder: Path, device: torch.device, console: Console | None = None) -> None:
        super().__init__(self.Config())
        self._folder = folder
        self._on_gpu = device.type == "cuda"
        self._console = console or Console(stderr=True)
        self._profiler: profile | None = None
        self._taken = 0
        self._before = 0

    def on_fit_start(self, state: TrainState) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        plan = schedule(skip_first=WARM_UP - 1, wait=0, warmup=1, active=STEPS, repeat=1)
        self._profiler = profile(activities=activities, schedule=plan)
        self._profiler.start()

    def on_optimizer_step(self, state: TrainState) -> None:
        if self._profiler is None:
            return
        self._profiler.step()
        self._taken += 1
        if self._taken == WARM_UP:
            self._before = state.step
        if self._taken == WARM_UP + STEPS:
            self._finish(state)

    def on_interrupt(self, state: TrainState) -> None:
        self._finish(state)

    def on_error(self, state: TrainState) -> None:
        if self._profiler is not None:
            self._profiler.stop()

    def on_fit_end(self, state: TrainState) -> None:
        self._finish(state)

    def _finish(self, state: TrainState) -> None:
        """Write what was traced, once; a short run has fewer steps to show, or none."""
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        profiler.stop()
        if self._taken <= WARM_UP:
            self._say(f"No profile: it begins after {WARM_UP} steps, and this run took no more than {self._taken}.")
            return
        self._folder.mkdir(exist_ok=True)
        profiler.export_chrome_trace(str(self._folder / TRACE))
        events = profiler.events() or []  # type: ignore[no-untyped-call]
        table = profile_table(events, self._before + 1, state.step, self._on_gpu)
        (self._folder / TABLE).write_text(table, encoding="utf-8")
        self._say(f"{table}\nThe trace is {self._folder.name}/{TRACE} in the run folder: open it in ui.perfetto.dev.")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

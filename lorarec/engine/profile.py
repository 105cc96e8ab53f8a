"""Profile: trace a few steps of a run, and measure the time of their parts."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, schedule

from lorarec.contracts import Callback, TrainState
from lorarec.disk import atomic_write, write_text

WARM_UP = 2
"""Steps before the first measured one: allocators, caches and the profiler itself are slow at first."""
STEPS = 6
TRACE, TABLE = "trace.json.gz", "steps.md"

MARK = "ProfilerStep"
"""Prefix of the names that the profiler gives whole steps."""
PARTS = {
    "data": "data (waiting for the next batch)",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer (clipping included)",
    "other": "other (moving the batch, logging, callbacks)",
}
OUTSIDE = ("evaluation", "checkpoint")
"""Marked like the parts, but not part of a step: left out."""
SHOWN = 10


class Profile(Callback):
    """Writes a trace for Perfetto or chrome://tracing, and a table of the times of a step's parts, also to stderr.

    Covers the first steps of this process after a warm-up, so that a resumed run has a profile of its own. Only the
    main process is traced.
    """

    name = "profile"
    summary = "trace a few steps and show where their time goes"

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
        """Write the trace and the table, once; a short run has fewer steps, or none."""
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        profiler.stop()
        if self._taken <= WARM_UP:
            self._say(f"No profile: it begins after {WARM_UP} steps, and this run took no more than {self._taken}.")
            return
        self._folder.mkdir(exist_ok=True)
        with atomic_write(self._folder / TRACE) as partial:
            profiler.export_chrome_trace(str(partial))
        events = profiler.events() or []  # type: ignore[no-untyped-call]
        table = profile_table(events, self._before + 1, state.step, self._on_gpu)
        write_text(self._folder / TABLE, table)
        self._say(f"{table}\nThe trace is {self._folder.name}/{TRACE} in the run folder: open it in ui.perfetto.dev.")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def profile_table(events: Sequence[FunctionEvent], first: int, last: int, on_gpu: bool) -> str:
    """Milliseconds and share of each part of a step, and of the most expensive operators, as Markdown.

    `events`: a profiler's, over the optimizer steps `first` to `last`, with the training loop's marks. A GPU works
    while the CPU continues: its time, in a separate column, counts to the part that launched the kernels.
    """
    return "\n".join(_Times(events, last - first + 1, on_gpu).lines(f"Optimizer steps {first} to {last}")) + "\n"


class _Times:
    """Times in milliseconds a step: of the parts, and of the operators on the GPU where there is one."""

    def __init__(self, events: Sequence[FunctionEvent], steps: int, on_gpu: bool) -> None:
        self.steps, self.on_gpu = steps, on_gpu
        host = [event for event in events if event.device_type.name == "CPU"]
        self._marks = sorted((*_span(event), event.name) for event in host if event.name in (*PARTS, *OUTSIDE))
        self._measure_parts(host)
        self.calls: Counter[str] = Counter()
        self.busy: dict[str, float] = defaultdict(float)
        self.busy_in: dict[str, float] = defaultdict(float)
        for event in host:
            part = self._part_at(event.time_range.start)
            if part not in OUTSIDE and event.name not in PARTS and not event.name.startswith(MARK):
                spent = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000 / steps
                self.calls[event.name] += 1
                self.busy[event.name] += spent
                self.busy_in[part] += spent

    def _measure_parts(self, host: Sequence[FunctionEvent]) -> None:
        self.time: dict[str, float] = defaultdict(float)
        for event in host:
            start, end = _span(event)
            name = MARK if event.name.startswith(MARK) else event.name
            self.time[name] += (end - start) / 1000 / self.steps
        self.whole = self.time[MARK] - sum(self.time[name] for name in OUTSIDE)
        self.time["other"] = self.whole - sum(self.time[name] for name in PARTS)

    def _part_at(self, time: float) -> str:
        # By time and not by parent: on a GPU, another thread does the backward pass while the marked one waits.
        index = bisect_right(self._marks, time, key=lambda mark: mark[0]) - 1
        return self._marks[index][2] if index >= 0 and time <= self._marks[index][1] else "other"

    def lines(self, title: str) -> Iterator[str]:
        """The two tables under a title."""
        yield f"{title}: {self.whole:.2f} ms a step, profiler included (it slows down many small operators most)."
        yield ""
        gpu = ("GPU ms",) if self.on_gpu else ()
        yield from _table(("part", "ms a step", "share", *gpu), list(self._parts()))
        yield ""
        time = "GPU ms a step" if self.on_gpu else "ms a step"
        yield from _table(("operator", "calls a step", time, "share"), list(self._operators()))

    def _parts(self) -> Iterator[tuple[str, ...]]:
        for name, text in PARTS.items():
            gpu = (f"{self.busy_in[name]:.2f}",) if self.on_gpu else ()
            yield text, f"{self.time[name]:.2f}", self._share(self.time[name]), *gpu

    def _operators(self) -> Iterator[tuple[str, ...]]:
        top = sorted(self.busy.items(), key=lambda item: -item[1])[:SHOWN]
        for name, spent in top:
            yield name, f"{round(self.calls[name] / self.steps, 1):g}", f"{spent:.2f}", self._share(spent)
        rest = sum(self.busy.values()) - sum(spent for _, spent in top)
        yield "all other operators", "", f"{rest:.2f}", self._share(rest)
        idle = self.whole - sum(self.busy.values())
        yield "the GPU waits" if self.on_gpu else "no operator (Python, waiting)", "", f"{idle:.2f}", self._share(idle)

    def _share(self, spent: float) -> str:
        return f"{spent / self.whole:.1%}"


def _span(event: FunctionEvent) -> tuple[float, float]:
    return float(event.time_range.start), float(event.time_range.end)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table with aligned columns, readable as plain text."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, tuple("-" * width for width in widths), *rows):
        first, *numbers = (cell.ljust(width) if not index else cell.rjust(width)
                           for index, (cell, width) in enumerate(zip(row, widths, strict=True)))  # fmt: skip
        yield "| " + " | ".join([first, *numbers]) + " |"

"""The table of a profile: where an optimizer step goes, by part and by operator."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from torch.autograd.profiler_util import FunctionEvent

STEP = "ProfilerStep"
"""How the names of the marks around whole steps begin, which the profiler sets itself."""
PARTS = {
    "data": "data (waiting for the next batch)",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer (clipping included)",
    "other": "other (moving the batch, logging, callbacks)",
}
OUTSIDE = ("evaluation", "checkpoint")
"""Marked as the parts are, but no part of a step: left out."""
SHOWN = 10


def profile_table(events: Sequence[FunctionEvent], first: int, last: int, on_gpu: bool) -> str:
    """Milliseconds and share of each part of a step, and of the dearest operators, as Markdown.

    `events`: a profiler's, over the optimizer steps `first` to `last`, with the training loop's marks. A GPU works
    while the processor goes on: its time, in a column of its own, counts to the part that asked for the work.
    """
    return "\n".join(_Profile(events, last - first + 1, on_gpu).lines(f"Optimizer steps {first} to {last}")) + "\n"


class _Profile:
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
            if part not in OUTSIDE and event.name not in PARTS and not event.name.startswith(STEP):
                spent = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000 / steps
                self.calls[event.name] += 1
                self.busy[event.name] += spent
                self.busy_in[part] += spent

    def _measure_parts(self, host: Sequence[FunctionEvent]) -> None:
        self.time: dict[str, float] = defaultdict(float)
        for event in host:
            start, end = _span(event)
            name = STEP if event.name.startswith(STEP) else event.name
            self.time[name] += (end - start) / 1000 / self.steps
        self.whole = self.time[STEP] - sum(self.time[name] for name in OUTSIDE)
        self.time["other"] = self.whole - sum(self.time[name] for name in PARTS)

    def _part_at(self, time: float) -> str:
        # By time and not by parent: on a GPU, another thread does the backward pass while the marked one waits.
        place = bisect_right(self._marks, time, key=lambda mark: mark[0]) - 1
        return self._marks[place][2] if place >= 0 and time <= self._marks[place][1] else "other"

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
        dear = sorted(self.busy.items(), key=lambda item: -item[1])[:SHOWN]
        for name, spent in dear:
            yield name, f"{round(self.calls[name] / self.steps, 1):g}", f"{spent:.2f}", self._share(spent)
        rest = sum(self.busy.values()) - sum(spent for _, spent in dear)
        yield "all other operators", "", f"{rest:.2f}", self._share(rest)
        idle = self.whole - sum(self.busy.values())
        yield "the GPU waits" if self.on_gpu else "no operator (Python, waiting)", "", f"{idle:.2f}", self._share(idle)

    def _share(self, spent: float) -> str:
        return f"{spent / self.whole:.1%}"


def _span(event: FunctionEvent) -> tuple[float, float]:
    return float(event.time_range.start), float(event.time_range.end)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Markdown with its columns aligned, to be read as it stands."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, tuple("-" * width for width in widths), *rows):
        first, *numbers = (cell.ljust(width) if not place else cell.rjust(width)
                           for place, (cell, width) in enumerate(zip(row, widths, strict=True)))  # fmt: skip
        yield "| " + " | ".join([first, *numbers]) + " |"

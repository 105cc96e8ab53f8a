"""What the command line prints: results to standard output, messages to standard error."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_WIDE = 200
"""Columns where there is no terminal: a file or pipe should not get lines broken at 80."""


def process_rank() -> int:
    """The number of this process, as torchrun and accelerate launch give it; 0 is the main one."""
    return int(os.environ.get("RANK", "0"))


def set_up_logging() -> None:
    """Send lorarec's warnings to standard error as plain lines, from the main process only.

    What libraries tell their callers' authors (a name that will change in a later version) is kept from
    users, who can do nothing about it; Python's own -W and PYTHONWARNINGS bring it back.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore", FutureWarning)
    logger = logging.getLogger("lorarec")
    logger.setLevel(logging.WARNING if process_rank() == 0 else logging.ERROR)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]


def tell_error(message: object, alike: bool) -> None:
    """Print a mistake. What all processes find `alike` is told by the main one; else the process is named."""
    rank = process_rank()
    if rank and alike:
        return
    print(f"[process {rank}] {message}" if rank else f"{message}", file=sys.stderr)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    for line in lines:
        print(line)


def print_notices(lines: Iterable[str]) -> None:
    """Print what a user should know about a result, on standard error."""
    for line in lines:
        print(line, file=sys.stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int | None = None) -> None:
    """Print a table. Columns after the first `words`, if given, hold numbers, aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        number = words is not None and index >= words
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Print metrics side by side: one row a part and metric, one column for this model and each baseline; beside the
    model's value its interval, and below the table what was drawn for it, and the rules of the evaluation."""
    baselines = metrics.get("baselines") or {}
    bounds = metrics.get("intervals") or {}
    between = [f"{bounds['level']:.0%} interval"] if bounds else []
    rows = [
        [
            part,
            label,
            _number(value),
            *([_interval(bounds.get(part), label)] if bounds else []),
            *(_number((baseline.get(part) or {}).get(label)) for baseline in baselines.values()),
        ]
        for part in ("validation", "test")
        for label, value in (metrics.get(part) or {}).items()
    ]
    print_table(["part", "metric", "this model", *between, *baselines], rows, words=2)
    if baselines:
        print_lines([f"baselines: {', '.join(baselines)}"])
    print_lines(rules_of(metrics))


def print_slices(metrics: Mapping[str, Any]) -> None:
    """Print the metrics of each slice of validation and test, with what the slice is."""
    from lorarec.evaluation.metrics import RULES

    labels = list(metrics["test"] or metrics["validation"])
    rows = [
        [part, name, RULES[name], f"{of_slice['rows']:,}", *(_number(of_slice["metrics"][label]) for label in labels)]
        for part, slices in metrics["slices"].items()
        for name, of_slice in slices.items()
    ]
    print_table(["part", "slice", "which are", "rows", *labels], rows, words=3)


def rules_of(metrics: Mapping[str, Any]) -> list[str]:
    """How the numbers came about, one rule a line; none for metrics that do not say."""
    lines = []
    bounds, rules = metrics.get("intervals") or {}, metrics.get("protocol") or {}
    for part in ("validation", "test"):
        if of_part := (bounds.get(part) or {}):
            counts = {entry["resamples"] for entry in of_part["metrics"].values()}
            samples = " or ".join(f"{count:,}" for count in sorted(counts))
            lines.append(f"{part} intervals: {bounds['method']} over {of_part['over']}, {samples or 'no'} resamples")
    short = {name: rule[:16] if name.endswith("fingerprint") else rule for name, rule in rules.items()}
    return [*lines, *(f"{name}: {rule}" for name, rule in short.items()), ""] if lines or rules else []


def _interval(bounds: Mapping[str, Any] | None, label: str) -> str:
    interval = (bounds or {}).get("metrics", {}).get(label)
    return "" if interval is None else f"{interval['low']:.4f} to {interval['high']:.4f}"


def _number(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("value")
    return "" if value is None else f"{value:.4f}"

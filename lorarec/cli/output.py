"""Printing: results to standard output, messages to standard error."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from lorarec.errors import printable, text_of

_WIDE = 200
"""Width without a terminal: lines written to a file or pipe should not be broken at 80 columns."""


def process_rank() -> int:
    """The rank of this process, as set by torchrun and accelerate launch; 0 is the main one."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() else 0


def set_up_streams() -> None:
    """Make the standard streams accept every text: a closed one is replaced by one that drops what is written, and
    characters that the encoding lacks are written as \\u escapes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller; the first file opened takes its number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def set_up_logging() -> None:
    """Send lorarec's warnings to standard error as plain lines, from the main process only.

    FutureWarnings of libraries are hidden, because they are meant for developers; Python's options -W and
    PYTHONWARNINGS show them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore", FutureWarning)
    logger = logging.getLogger("lorarec")
    logger.setLevel(logging.WARNING if process_rank() == 0 else logging.ERROR)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(levelname)s: %(message)s"))
    said: set[str] = set()
    handler.addFilter(lambda record: _is_new(record.getMessage(), said))
    logger.handlers = [handler]


def _is_new(message: str, said: set[str]) -> bool:
    """Whether the command has not said this yet: a finished run is read again with the plugins of its training."""
    new = message not in said
    said.add(message)
    return new


class _Printable(logging.Formatter):
    """Lines that are short and can be printed, as errors are."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


HEAD_START = 1.0
"""Seconds in which the main process prints an error before the others end."""


def tell_error(message: object, on_every_process: bool) -> None:
    """Print an error. One that is the same on every process is printed by the main one; others name theirs."""
    rank = process_rank()
    if rank and on_every_process:
        with suppress(KeyboardInterrupt):  # torchrun ends all processes when the first has ended: the main one prints
            time.sleep(HEAD_START)
        return
    text = printable(text_of(message) if isinstance(message, BaseException) else str(message))
    print(f"[process {rank}] {text}" if rank else text, file=sys.stderr)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    for line in lines:
        print(line)


def print_notices(lines: Iterable[str]) -> None:
    """Print notices about a result to standard error."""
    for line in lines:
        print(printable(line), file=sys.stderr)


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
    """Print a table of metrics: one row for each part and metric, one column for this model, its interval, and each
    baseline. Below it, how the intervals were computed, and the evaluation protocol."""
    baselines = metrics.get("baselines") or {}
    bounds = metrics.get("intervals") or {}
    interval_column = [f"{bounds['level']:.0%} interval"] if bounds else []
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
    print_table(["part", "metric", "this model", *interval_column, *baselines], rows, words=2)
    if baselines:
        print_lines([f"baselines: {', '.join(baselines)}"])
    print_lines(rules_of(metrics))


def print_slices(metrics: Mapping[str, Any]) -> None:
    """Print the metrics of each slice of validation and test, with the definition of the slice."""
    from lorarec.evaluation.metrics import RULES

    labels = list(metrics["test"] or metrics["validation"])
    rows = [
        [part, name, RULES[name], f"{of_slice['rows']:,}", *(_number(of_slice["metrics"][label]) for label in labels)]
        for part, slices in metrics["slices"].items()
        for name, of_slice in slices.items()
    ]
    print_table(["part", "slice", "which are", "rows", *labels], rows, words=3)


def rules_of(metrics: Mapping[str, Any]) -> list[str]:
    """How the intervals were computed, and the protocol, one line each; empty for metrics without either."""
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

"""Two sides measured alternately, A B A B ..., each time in a fresh process, and the ratio with its spread.

Absolute figures vary on shared machines by 20% and more; the ratio of two consecutive runs varies less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BENCHMARKS = HERE.relative_to(ROOT)
"""Path of the benchmarks in a checkout."""
DATA = ROOT.parent / "shared" / "data"
"""Data sets next to the checkout; every program takes another path by --data."""
LIMIT = 2 * 3600
"""Seconds after which a side counts as stuck."""
Figures = dict[str, Any]
"""The JSON object that a side prints as its last line."""


@dataclass(frozen=True)
class Side:
    """A program to run, as `PYTHON -m MODULE ARGUMENTS` in the benchmarks of a checkout, this one by default."""

    name: str
    module: str
    arguments: Sequence[str] = ()
    python: str = sys.executable
    """The interpreter; another checkout needs the one that it is installed in."""
    folder: Path = ROOT
    """The checkout whose lorarec and programs are run."""

    def run(self, threads: int) -> Figures:
        """The figures of one fresh process with empty caches. Ends the program if the side fails."""
        with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as cache:
            command = [self.python, "-m", self.module, *self.arguments]
            done = subprocess.run(
                command,
                cwd=self.folder / BENCHMARKS,
                env=_environment(threads, cache),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise SystemExit(
                f"{' '.join(command)}\nfailed ({done.returncode}):\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
            )
        figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
        if figures.get("threads", threads) != threads:
            raise SystemExit(
                f"{self.name} ran with {figures['threads']} threads, not with {threads}: comparing would be unfair."
            )
        return figures


def _environment(threads: int, cache: str) -> dict[str, str]:
    """The same threads for every library, no network, and empty caches, for either side."""
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
        **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_CACHE": cache,
    }


def other_state(side: Side, arguments: argparse.Namespace) -> Side:
    """The same work done by the checkout `--against`, as the side "other".

    Ends the program if its interpreter imports lorarec from anywhere else: the ratio would compare a state with
    itself.
    """
    folder: Path = arguments.against.resolve()
    # Not resolved: an environment's interpreter is a link, whose path determines the environment.
    python = (arguments.python or folder / ".venv" / "bin" / "python").absolute()
    programs = folder / BENCHMARKS
    if not programs.is_dir() or not python.is_file():
        raise SystemExit(
            f"{programs if python.is_file() else python} does not exist: --against takes a checkout of "
            "lorarec, --python the interpreter that it is installed in."
        )
    command = [str(python), "-c", "import lorarec; print(lorarec.__file__)"]
    done = subprocess.run(command, cwd=programs, capture_output=True, text=True)
    if done.returncode or not Path(done.stdout.strip()).resolve().is_relative_to(folder):
        location = done.stdout.strip() or done.stderr.strip()[-300:]
        raise SystemExit(
            f"{python} imports lorarec from {location}, not from {folder}. Give the interpreter by --python, or "
            f"install the checkout in it (pip install -e {folder})."
        )
    return replace(side, name="other", python=str(python), folder=folder)


@dataclass(frozen=True)
class Ratio:
    """The ratio of one side's figure to the other's, for each pair."""

    each: Sequence[float]
    of_medians: float

    @property
    def median(self) -> float:
        """The median of the pairs' ratios."""
        return median(self.each)

    def __str__(self) -> str:
        spread = f"{min(self.each):.2f} to {max(self.each):.2f} in {len(self.each)} pairs"
        return f"{self.median:.2f}x (median; {spread}; ratio of medians {self.of_medians:.2f}x)"


def in_turn(sides: Sequence[Side], pairs: int, threads: int) -> list[dict[str, Figures]]:
    """Figures of each side by name, `pairs` times: all sides once, then all of them again."""
    rounds = []
    for number in range(1, pairs + 1):
        figures = {}
        for side in sides:
            started = time.perf_counter()
            figures[side.name] = side.run(threads)
            print(
                f"pair {number} of {pairs}: {side.name} took {time.perf_counter() - started:.1f} s in all", flush=True
            )
        rounds.append(figures)
    return rounds


def ratio(rounds: Sequence[Mapping[str, Figures]], over: tuple[str, str], under: tuple[str, str]) -> Ratio:
    """`over` and `under` are (side, figure): ("ours", "rows_per_second") over ("peer", "rows_per_second")."""
    above = [float(figures[over[0]][over[1]]) for figures in rounds]
    below = [float(figures[under[0]][under[1]]) for figures in rounds]
    return Ratio([a / b for a, b in zip(above, below, strict=True)], median(above) / median(below))


def middle(rounds: Sequence[Mapping[str, Figures]], side: str, figure: str) -> float:
    """The median of one side's figure over the pairs."""
    return median(float(figures[side][figure]) for figures in rounds)


def print_figure(rounds: Sequence[Mapping[str, Figures]], figure: str, label: str) -> None:
    """Print one line: the median of each side that has the figure, with its range."""
    parts = []
    for side in rounds[0]:
        values = [figures[side][figure] for figures in rounds if figures[side].get(figure) is not None]
        if values:
            parts.append(f"{side} {median(values):.4g} ({min(values):.4g} to {max(values):.4g})")
    print(f"{label}: {'; '.join(parts) or 'not measured'}")


def add_options(parser: argparse.ArgumentParser, pairs: int = 5) -> None:
    """The options of every program that compares: pairs, threads, and the file of the record."""
    parser.add_argument("--pairs", type=int, default=pairs, help=f"how often each side runs (default {pairs})")
    add_run_options(parser)


def add_state_options(parser: argparse.ArgumentParser) -> None:
    """The options of a program that can compare this state of lorarec with another one."""
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of lorarec, which replaces the peer: the same training by either state",
    )
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PYTHON",
        help="the interpreter that the other checkout is installed in (default: CHECKOUT/.venv/bin/python)",
    )


def refuse_idle_options(arguments: argparse.Namespace, peers: Sequence[str]) -> None:
    """End the program if an option would have no effect; `peers` are those of the peer that default to None."""
    if arguments.against is None and arguments.python is not None:
        raise SystemExit("--python is the interpreter of the other checkout: name that by --against.")
    for name in peers:
        if arguments.against is not None and getattr(arguments, name) is not None:
            raise SystemExit(f"--{name.replace('_', '-')} is the peer's, which --against replaces: leave it out.")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of every program: threads, and the file of the record."""
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads of each side (default: all cores)"
    )
    parser.add_argument(
        "--record",
        type=Path,
        default=ROOT / "runs" / "benchmarks.jsonl",
        help="file to which a JSON line is appended",
    )


def record(program: str, arguments: argparse.Namespace, results: Any) -> None:
    """Append all measurements, with the settings and the time, as one line to the record."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    line = {"program": program, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "settings": settings, "results": results}
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    with arguments.record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"Record: one line appended to {arguments.record.name}")

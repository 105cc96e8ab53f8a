"""Two sides measured in turn, A B A B ..., each time in a fresh process, and the ratio with its spread.

Absolute figures drift on shared machines by a fifth and more; the ratio of two runs side by side drifts less.
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
"""Where a checkout keeps its benchmarks."""
DATA = ROOT.parent / "shared" / "data"
"""Data sets beside the checkout; every program takes another place by --data."""
LIMIT = 2 * 3600
"""Seconds after which a side counts as stuck."""
Figures = dict[str, Any]
"""What a side prints as its last line: one JSON object."""


@dataclass(frozen=True)
class Side:
    """A program to run, as `PYTHON -m MODULE ARGUMENTS` in the benchmarks of a checkout, this one by default."""

    name: str
    module: str
    arguments: Sequence[str] = ()
    python: str = sys.executable
    """The interpreter; another checkout needs the one that it is installed for."""
    folder: Path = ROOT
    """The checkout: its lorarec is what runs, measured by its own programs."""

    def run(self, threads: int) -> Figures:
        """The figures of one fresh process with cold caches of its own. Ends the program where the side fails."""
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
            raise SystemExit(f"{self.name} computed with {figures['threads']} threads, not with {threads}: unfair.")
        return figures


def _environment(threads: int, cache: str) -> dict[str, str]:
    """The same threads for every library, no network, and empty caches, whichever side it is."""
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
        **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_CACHE": cache,
    }


def other_state(side: Side, arguments: argparse.Namespace) -> Side:
    """The same work done by the checkout `--against`, as the side "other".

    Ends the program where its interpreter imports lorarec from anywhere else: the ratio would compare a state with
    itself.
    """
    folder: Path = arguments.against.resolve()
    # Not resolved: an environment's interpreter is a link, and knows by its own path which environment it is of.
    python = (arguments.python or folder / ".venv" / "bin" / "python").absolute()
    where = folder / BENCHMARKS
    if not where.is_dir() or not python.is_file():
        raise SystemExit(
            f"{where if python.is_file() else python} does not exist: --against takes a checkout of "
            "lorarec, --python the interpreter that it is installed for."
        )
    asked = [str(python), "-c", "import lorarec; print(lorarec.__file__)"]
    done = subprocess.run(asked, cwd=where, capture_output=True, text=True)
    if done.returncode or not Path(done.stdout.strip()).resolve().is_relative_to(folder):
        found = done.stdout.strip() or done.stderr.strip()[-300:]
        raise SystemExit(
            f"{python} imports lorarec from {found}, not from {folder}. Give the interpreter by --python, or "
            f"install the checkout for it (pip install -e {folder})."
        )
    return replace(side, name="other", python=str(python), folder=folder)


@dataclass(frozen=True)
class Ratio:
    """How many times one side's figure is the other's, pair by pair."""

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
        found = {}
        for side in sides:
            started = time.perf_counter()
            found[side.name] = side.run(threads)
            print(
                f"pair {number} of {pairs}: {side.name} took {time.perf_counter() - started:.1f} s in all", flush=True
            )
        rounds.append(found)
    return rounds


def ratio(rounds: Sequence[Mapping[str, Figures]], over: tuple[str, str], under: tuple[str, str]) -> Ratio:
    """`over` and `under` are (side, figure): ("ours", "rows_per_second") over ("peer", "rows_per_second")."""
    above = [float(found[over[0]][over[1]]) for found in rounds]
    below = [float(found[under[0]][under[1]]) for found in rounds]
    return Ratio([a / b for a, b in zip(above, below, strict=True)], median(above) / median(below))


def middle(rounds: Sequence[Mapping[str, Figures]], side: str, figure: str) -> float:
    """The median of one side's figure over the pairs."""
    return median(float(found[side][figure]) for found in rounds)


def print_figure(rounds: Sequence[Mapping[str, Figures]], figure: str, label: str) -> None:
    """One line: the median of each side that has the figure, with the smallest and the largest."""
    parts = []
    for side in rounds[0]:
        values = [found[side][figure] for found in rounds if found[side].get(figure) is not None]
        if values:
            parts.append(f"{side} {median(values):.4g} ({min(values):.4g} to {max(values):.4g})")
    print(f"{label}: {'; '.join(parts) or 'not measured'}")


def add_options(parser: argparse.ArgumentParser, pairs: int = 5) -> None:
    """The options of every program that compares: how often, with how many threads, and where the record goes."""
    parser.add_argument("--pairs", type=int, default=pairs, help=f"how often each side runs (default {pairs})")
    add_run_options(parser)


def add_state_options(parser: argparse.ArgumentParser) -> None:
    """The options of a program that can compare this state of lorarec with another one."""
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of lorarec, which takes the peer's place: the same training by either state",
    )
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PYTHON",
        help="the interpreter that the other checkout is installed for (default: CHECKOUT/.venv/bin/python)",
    )


def refuse_idle_options(arguments: argparse.Namespace, peers: Sequence[str]) -> None:
    """End the program where an option would do nothing; `peers` are those of the peer that default to None."""
    if arguments.against is None and arguments.python is not None:
        raise SystemExit("--python is the interpreter of the other checkout: name that by --against.")
    for name in peers:
        if arguments.against is not None and getattr(arguments, name) is not None:
            raise SystemExit(f"--{name.replace('_', '-')} is the peer's, whose place --against takes: leave it out.")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of every program: threads, and where the record goes."""
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads of each side (default: all cores)"
    )
    parser.add_argument(
        "--record", type=Path, default=ROOT / "runs" / "benchmarks.jsonl", help="file to which one JSON line is added"
    )


def record(program: str, arguments: argparse.Namespace, found: Any) -> None:
    """Add everything that was measured, with the settings and the moment, as one line to the record."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    line = {"program": program, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "settings": settings, "found": found}
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    with arguments.record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"Record: one line added to {arguments.record.name}")

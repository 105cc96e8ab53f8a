"""Seconds until `import lorarec` and `lorarec --help` are done, each in a fresh interpreter, in turn with an empty one.

An empty interpreter's own start is measured beside them and taken off the import, as the target means the import alone.
Files are warm: a first round is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from paired import add_run_options, record

COMMANDS = {
    "python": ["-c", "pass"],
    "import lorarec": ["-c", "import lorarec"],
    "lorarec --help": ["-m", "lorarec", "--help"],
}


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    add_run_options(parser)
    return parser.parse_args()


def seconds_of(command: Sequence[str]) -> float:
    """One run of the interpreter. Raises CalledProcessError where it fails."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure in turn, print medians and ranges."""
    arguments = options()
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(arguments.rounds + 1):
        for name, command in COMMANDS.items():
            seconds = seconds_of(command)
            if number:
                spent[name].append(seconds)
    spent["import lorarec, interpreter taken off"] = [
        whole - empty for whole, empty in zip(spent["import lorarec"], spent["python"], strict=True)
    ]
    for name, values in spent.items():
        print(f"{name}: {median(values):.3f} s ({min(values):.3f} to {max(values):.3f} in {len(values)} rounds)")
    record("start_up", arguments, spent)


if __name__ == "__main__":
    main()

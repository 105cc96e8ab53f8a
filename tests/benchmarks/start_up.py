"""Seconds of `import lorarec` and `lorarec --help`, each in a fresh interpreter, alternating with an empty one.

The start of an empty interpreter is also measured and subtracted from the import, since the target is the import alone.
Files are warm: the first round is not counted.
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
    """One run of the interpreter. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure alternately, print medians and ranges."""
    arguments = options()
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(arguments.rounds + 1):
        for name, command in COMMANDS.items():
            seconds = seconds_of(command)
            if number:
                spent[name].append(seconds)
    spent["import lorarec, interpreter subtracted"] = [
        whole - empty for whole, empty in zip(spent["import lorarec"], spent["python"], strict=True)
    ]
    for name, values in spent.items():
        print(f"{name}: {median(values):.3f} s ({min(values):.3f} to {max(values):.3f} in {len(values)} rounds)")
    record("start_up", arguments, spent)


if __name__ == "__main__":
    main()

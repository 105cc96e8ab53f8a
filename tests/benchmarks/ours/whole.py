"""One `lorarec` command from its start to its end, and the memory of all its processes. Prints one JSON line.

`python -m ours.whole train RECIPE [KEY=VALUE ...] --output RUN`
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil

PAUSE = 0.05
"""Seconds between two samples of the memory."""


def measure(command: Sequence[str]) -> dict[str, Any]:
    """Wall-clock and processor seconds, and the peak resident memory in MiB: of all processes together by samples
    (pages that they share count for each), and of the largest one by the kernel."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen([sys.executable, "-m", "lorarec", *command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident(process))
        time.sleep(PAUSE)
    if process.returncode:
        raise SystemExit(f"lorarec {' '.join(command)} failed ({process.returncode}).")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "all_processes_mib": peak / 2**20,
        "largest_process_mib": used.ru_maxrss / 2**10,
    }


def resident(process: psutil.Process) -> int:
    """Bytes of resident memory of a process and its descendants."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # it has ended meanwhile
        pass
    return total


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:])))

"""One `lorarec` command from its start to its end, and the memory of all its processes. Prints one JSON line.

`python -m ours.whole PROCESSES train RECIPE [KEY=VALUE ...] --output RUN`; several processes are started by torchrun.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil

PAUSE = 0.1
"""Seconds between two samples of the memory."""
POINTS = 20
"""Number of spans of the command whose largest samples are given."""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")


def measure(processes: int, command: Sequence[str]) -> dict[str, Any]:
    """Wall-clock and processor seconds, and the peak resident memory in MiB: of all processes together by samples, in
    which memory that they share counts once, over the whole command and over each of POINTS equal spans of it; and of
    the largest one by the kernel."""
    started, samples = time.perf_counter(), [0]
    launcher = [*TORCHRUN, str(processes)] if processes > 1 else []
    cpu = {"ACCELERATE_USE_CPU": "true"} if processes > 1 else {}
    process = psutil.Popen(
        [sys.executable, *launcher, "-m", "lorarec", *command], stdout=subprocess.DEVNULL, env=os.environ | cpu
    )
    while process.poll() is None:
        samples.append(resident(process))
        time.sleep(PAUSE)
    if process.returncode:
        raise SystemExit(f"lorarec {' '.join(command)} failed ({process.returncode}).")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "all_processes_mib": max(samples) / 2**20,
        "largest_process_mib": used.ru_maxrss / 2**10,
        "spans_mib": [round(max(span) / 2**20) for span in np.array_split(samples, POINTS) if len(span)],
    }


def resident(process: psutil.Process) -> int:
    """Bytes of resident memory of a process and its descendants; a page of several processes is divided among them."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().pss
    except psutil.Error:  # it has ended meanwhile
        pass
    return total


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2:])))

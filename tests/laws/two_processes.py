"""Trainings for tests with two processes, started by torchrun: `two_processes.py PLAN.json`.

The plan is a list of {recipe, output, resume, stop}: the recipe, the folder of the run, whether to resume it, and the
step after which this process is sent SIGTERM.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

import lorarec
from lorarec.errors import Interrupted


def main(plan: Path) -> None:
    """Run every training of the plan, one after another."""
    torch.set_num_threads(1)
    for work in json.loads(plan.read_text()):
        os.environ["LAW_STOP"] = f"SIGTERM:{work['stop']}" if work.get("stop") else ":-1"
        try:
            lorarec.train(work["recipe"], output=work["output"], resume=work.get("resume", False))
        except Interrupted as stopped:
            print(f"stopped: {stopped}")
            assert work.get("stop")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

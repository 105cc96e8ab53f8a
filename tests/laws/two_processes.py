"""Trainings for tests with two processes, started by torchrun: `two_processes.py PLAN.json`.

The plan is a list of {recipe, output, resume, stop, sharded}: the recipe, the folder of the run, whether to resume it,
the step after which this process is sent SIGTERM, and whether FSDP2 shards the weights.
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
        os.environ["ACCELERATE_USE_FSDP"] = str(bool(work.get("sharded"))).lower()
        try:
            lorarec.train(work["recipe"], output=work["output"], resume=work.get("resume", False))
        except Interrupted as stopped:
            print(f"stopped: {stopped}")
            assert work.get("stop")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

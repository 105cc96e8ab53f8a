"""Small real runs: a synthetic shop, a tiny random BERT, every head; and a way to be killed at a chosen step."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PLUGIN = HERE / "plugin"


@pytest.fixture(autouse=True)
def _law_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callbacks of these tests, discovered like those of any third party: by the entry point of a distribution."""
    monkeypatch.syspath_prepend(str(PLUGIN))


@pytest.fixture(scope="session")
def events_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The source of a shop with users, items and times, but without feedback."""
    folder = tmp_path_factory.mktemp("events-alone")
    draw = random.Random(0)
    events = [f"u{draw.randrange(20)},i{draw.randrange(40)},{time}" for time in range(240)]
    (folder / "interactions.csv").write_text("\n".join(["user,item,time", *events]) + "\n")
    titles = [
        f"i{item},{draw.choice(['red', 'blue', 'green'])} {draw.choice(['lamp', 'chair', 'table'])}"
        for item in range(40)
    ]
    (folder / "items.csv").write_text("\n".join(["item,title", *titles]) + "\n")
    return {"name": "files", "path": str(folder)}


@pytest.fixture(scope="session")
def recipe(tiny_checkpoint: Callable[[str], Path]) -> Callable[..., dict[str, Any]]:
    """A recipe as a mapping; another adapter, head or other sections are given by keyword."""

    def make(adapter: Any = "lora", head: Any = "ctr", **sections: Any) -> dict[str, Any]:
        train = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-2, "save_every": "epoch", "log_every": 3}
        return {
            "name": "law",
            "seed": 5,
            "data": {
                "source": {"name": "synthetic", "users": 20, "items": 40, "events": 240},
                "split": {"by": "time", "validation": 0.15, "test": 0.15},
            },
            "backbone": {
                "name": "text",
                "checkpoint": str(tiny_checkpoint("bert")),
                "max_length": 32,
                "dropout": True,  # otherwise resuming would have no randomness to reproduce
            },
            "adapter": adapter,
            "head": head,
            "callbacks": ["stop_at"],
            **sections,
            "train": {**train, **sections.get("train", {})},
        }

    return make


@pytest.fixture(scope="session")
def on_cpu() -> dict[str, str]:
    """The environment of processes that train together on the CPU."""
    return os.environ | {
        "ACCELERATE_USE_CPU": "true",
        "FSDP_VERSION": "2",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{PLUGIN}",
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture(scope="session")
def launch(on_cpu: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script or module, with its arguments, on two processes."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
        return subprocess.run(
            [sys.executable, *command, *arguments],
            capture_output=True, text=True, env=on_cpu, check=False, timeout=1200,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def torchrun(
    launch: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[[list[dict[str, Any]], Path], str]:
    """Runs a plan of trainings (see two_processes.py), written to a folder, on two processes. Returns what they
    print."""

    def run(plan: list[dict[str, Any]], folder: Path) -> str:
        path = folder / "plan.json"
        path.write_text(json.dumps(plan, default=str))
        done = launch(str(HERE / "two_processes.py"), str(path))
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return run

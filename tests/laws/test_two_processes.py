"""Laws of several processes, on two of them: the same steps, the same metrics, and exact resume."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lorarec
from lorarec.pipeline.evaluate import evaluate

pytestmark = pytest.mark.no_cover  # many whole trainings: other tests trace the same lines
Make = Callable[..., dict[str, Any]]
Torchrun = Callable[[list[dict[str, Any]], Path], str]
Launch = Callable[..., subprocess.CompletedProcess[str]]
HERE = Path(__file__).parent
HEADS: dict[str, Any] = {
    "rating": "rating",
    "rating_process": {"name": "rating_process", "folds": 100},
    "ctr": "ctr",
    "ctr_ridge": {"name": "ctr_ridge", "biases": True},
    "next_item": {"name": "next_item", "width": 16, "dropout": 0.0},
}


@pytest.fixture(scope="module")
def backbone(tiny_checkpoint: Callable[[str], Path]) -> dict[str, Any]:
    """No dropout: two processes draw different masks than one."""
    return {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32}


def test_two_processes_train_as_one_with_twice_the_batch_and_evaluate_exactly_the_same(
    recipe: Make, backbone: dict[str, Any], torchrun: Torchrun, tmp_path: Path
) -> None:
    plan = []
    for name, head in HEADS.items():
        size = 2 if name == "next_item" else 16
        train = {"epochs": 2, "learning_rate": 1e-3, "batch_size": size}
        settings = recipe("lora", head, backbone=backbone, train=train, evaluate={"batch_size": 7})
        plan.append({"recipe": settings, "output": tmp_path / f"two-{name}"})
        one = recipe("lora", head, backbone=backbone, train=train | {"batch_size": 2 * size})
        lorarec.train(one | {"evaluate": {"batch_size": 7}}, output=tmp_path / f"one-{name}")
    torchrun(plan, tmp_path)
    for name in HEADS:
        two, one_run = tmp_path / f"two-{name}", tmp_path / f"one-{name}"
        weights = load_file(one_run / "head.safetensors")
        for key, value in load_file(two / "head.safetensors").items():
            if value.is_floating_point() and value.numel() > 1:
                difference = float((value - weights[key]).norm() / weights[key].norm().clamp(min=1e-6))
                assert difference < 0.02, f"{name} {key}: {difference}"
        # Evaluated on one process: to the bit the same as on two.
        metrics = json.loads((two / "metrics.json").read_text())
        again = evaluate(two)
        assert {part: again[part] for part in ("validation", "test")} == {
            part: metrics[part] for part in ("validation", "test")
        }


def test_two_processes_stopped_and_resumed_end_as_if_never_stopped(
    recipe: Make, torchrun: Torchrun, tmp_path: Path
) -> None:
    # With dropout. An epoch has five steps: 3 is in the middle, 5 at the end.
    stops = (3, 5)
    adapters: dict[str, Any] = {
        "lora": {"name": "lora", "dropout": 0.2},
        "adalora": {"name": "adalora", "init_r": 4, "target_r": 2, "delta_t": 1},
    }
    plan = []
    for name, adapter in adapters.items():
        settings = recipe(adapter, "ctr", train={"batch_size": 21})
        plan.append({"recipe": settings, "output": tmp_path / f"{name}-whole"})
        for stop in stops:
            output = tmp_path / f"{name}-{stop}"
            plan += [{"recipe": settings, "output": output, "stop": stop}]
            plan += [{"recipe": settings, "output": output, "resume": True}]
    printed = torchrun(plan, tmp_path)
    for name, stop in itertools.product(adapters, stops):
        assert f"Stopped after step {stop} of 10" in printed
        for file in ("adapter/adapter_model.safetensors", "head.safetensors"):
            whole, resumed = load_file(tmp_path / f"{name}-whole" / file), load_file(tmp_path / f"{name}-{stop}" / file)
            assert all(torch.equal(whole[key], resumed[key]) for key in whole), f"{name} stopped at {stop}: {file}"


def test_data_are_read_once_and_mapped_by_every_process(recipe: Make, launch: Launch, tmp_path: Path) -> None:
    settings = recipe("lora", "next_item") | {"callbacks": []}
    settings["data"]["source"] |= {"users": 2000, "items": 400, "events": 40_000}
    (tmp_path / "recipe.yaml").write_text(json.dumps(settings))
    done = launch(str(HERE / "shared_data.py"), str(tmp_path / "recipe.yaml"), str(tmp_path))
    assert done.returncode == 0, done.stderr[-4000:]
    main, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert len({said[how] for said in (main, other) for how in ("shared", "without cache", "alone")}) == 1
    assert (main["reads"], other["reads"]) == (1, 0)
    for said in (main, other):  # pages of the file, which both processes have in memory once, and none of them copied
        assert said["mapping"]["Rss"] > 500
        assert said["mapping"]["Anonymous"] == 0
    # Where nothing can be written, both read, and one notice says so.
    assert (main["reads in all"], other["reads in all"]) == (2, 1)
    logs = [(tmp_path / f"{rank}.log").read_text() for rank in (0, 1)]
    assert logs[0].count("Processes prepare all data themselves") == 1 and "HF_DATASETS_CACHE" in logs[0]
    assert not logs[1]


def test_data_that_are_refused_end_both_processes_with_one_message(
    recipe: Make, launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "events.csv").write_text("user,item,time\na,x,1\nb,,2\n")
    settings = recipe("lora", "next_item") | {"callbacks": []}
    settings["data"]["source"] = {"name": "files", "interactions": str(tmp_path / "events.csv")}
    (tmp_path / "recipe.yaml").write_text(json.dumps(settings))
    done = launch("-m", "lorarec", "train", str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / "run"))
    said = done.stderr.split("torch/distributed/elastic")[0]  # what torchrun says of its own comes after it
    assert said.count("events.csv, column 'item', row 2") == 1
    assert "Traceback" not in said and "process 1" not in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"events.csv", "recipe.yaml"}


def test_processes_that_are_not_connected_are_refused(on_cpu: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lorarec", "train", "quickstart", "train.processes=2", "--output", f"{tmp_path}/run"],
        capture_output=True, text=True, env=on_cpu, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "train.processes asks for 2 processes, but 1 is running together" in done.stderr
    assert "torchrun --nproc_per_node 2" in done.stderr
    assert not list(tmp_path.iterdir())


def test_accelerate_launch_that_starts_one_process_instead_of_two_is_refused(
    on_cpu: dict[str, str], tmp_path: Path
) -> None:
    command = [
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "-m",
        "lorarec",
        "train",
        "quickstart",
    ]
    done = subprocess.run(
        [sys.executable, *command, "--output", str(tmp_path / "run")],
        capture_output=True, text=True, env=on_cpu, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "accelerate launch --num_processes asks for 2 processes, but 1 is running together" in done.stderr

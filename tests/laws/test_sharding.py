"""Laws of sharded weights (FSDP2 on two processes): the numbers of one process, whole files, exact resume.

Micro-batches have unequal numbers of chunks, and the last step of an epoch has none for one of the processes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorarec
from lorarec.pipeline.evaluate import evaluate

pytestmark = pytest.mark.no_cover  # many whole trainings: other tests trace the same lines
HEADS: dict[str, Any] = {"ctr": "ctr", "rating": "rating", "next_item": {"name": "next_item", "width": 8, "dropout": 0}}
ADAPTERS: dict[str, Any] = {
    "lora": {"name": "lora", "lora_plus_ratio": 4},
    "full": "full",
    "adalora": {"name": "adalora", "init_r": 4, "target_r": 2, "delta_t": 1},
}
CASES = list(itertools.product(HEADS, ADAPTERS))
BATCH = {"ctr": 7, "rating": 7, "next_item": 3}
STOPS = {("ctr", "lora"): 4, ("rating", "full"): 6, ("next_item", "adalora"): 1}
"""Steps after which a second run is stopped: in the middle of an epoch, at its end (after an evaluation), and in the
middle."""
ROUNDING = 1e-5
"""Largest difference of a weight or metric from one process's: gradients are summed in another order, and Adam divides
by their size. Each weight has moved by about 1e-2."""


@pytest.fixture(scope="module")
def settings(
    recipe: Callable[..., dict[str, Any]], tiny_checkpoint: Callable[[str], Path]
) -> Callable[..., dict[str, Any]]:
    """The recipe of a case, without dropout: two processes draw different masks than one."""
    backbone = {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 64}

    def make(head: str, adapter: str, processes: int) -> dict[str, Any]:
        batch = BATCH[head] * 2 // processes
        train = {"epochs": 2, "learning_rate": 1e-3, "accumulate": 2, "batch_size": batch}
        return recipe(ADAPTERS[adapter], HEADS[head], backbone=backbone, train=train, evaluate={"batch_size": 7})

    return make


@pytest.fixture(scope="module")
def sharded(
    settings: Callable[..., dict[str, Any]],
    torchrun: Callable[[list[dict[str, Any]], Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with the run of every case, and some that were stopped and resumed; trained in one launch."""
    folder, plan = tmp_path_factory.mktemp("sharded"), []
    for head, adapter in CASES:
        work = {"recipe": settings(head, adapter, 2), "output": folder / f"{head}-{adapter}", "sharded": True}
        plan.append(work)
        if stop := STOPS.get((head, adapter)):
            work = work | {"output": folder / f"{head}-{adapter}-resumed"}
            plan += [work | {"stop": stop}, work | {"resume": True}]
    printed = torchrun(plan, folder)
    assert printed.count("stopped: Stopped after step") == 2 * len(STOPS)
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All weights that a run has saved."""
    files = [*(run / "adapter").glob("*.safetensors"), run / "head.safetensors"]
    return {f"{file.name} {name}": value for file in files for name, value in load_file(file).items()}


@pytest.mark.parametrize(("head", "adapter"), CASES)
def test_sharded_weights_train_and_evaluate_as_on_one_process(
    head: str, adapter: str, settings: Callable[..., dict[str, Any]], sharded: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "one", sharded / f"{head}-{adapter}"
    lorarec.train(settings(head, adapter, 1), output=runs[0])
    one, two = (weights(run) for run in runs)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert float((value - two[name]).abs().max()) < ROUNDING, name
    before, after = (json.loads((run / "metrics.json").read_text()) for run in runs)
    for part in ("validation", "test"):
        assert after[part] == pytest.approx(before[part], abs=ROUNDING)
    for key in ("best_step", "warnings", "trainable_weights", "total_weights"):
        assert after[key] == before[key]


@pytest.mark.parametrize(("head", "adapter"), CASES)
def test_what_is_saved_from_shards_is_whole_byte_for_byte(
    head: str, adapter: str, sharded: Path, tmp_path: Path
) -> None:
    run = sharded / f"{head}-{adapter}"
    loaded = lorarec.load(run)
    loaded.model.adapter.save(loaded.model.network, tmp_path)
    save_file(dict(loaded.model.head.state_dict()), tmp_path / "head.safetensors")
    saved = [*(run / "adapter").glob("*.safetensors"), run / "head.safetensors"]
    assert len(saved) == 2
    for file in saved:
        assert file.read_bytes() == (tmp_path / file.name).read_bytes()
    # Evaluated again on one process: to the bit the same as on two.
    metrics, again = json.loads((run / "metrics.json").read_text()), evaluate(run)
    assert {part: again[part] for part in ("validation", "test")} == {
        part: metrics[part] for part in ("validation", "test")
    }


@pytest.mark.parametrize(("head", "adapter"), STOPS)
def test_a_sharded_run_that_was_stopped_and_resumed_ends_as_if_never_stopped(
    head: str, adapter: str, sharded: Path
) -> None:
    whole, resumed = (weights(sharded / f"{head}-{adapter}{suffix}") for suffix in ("", "-resumed"))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())

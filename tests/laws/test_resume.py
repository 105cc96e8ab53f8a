"""Law: stopped at any step and resumed = never stopped, bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import lorarec
from lorarec.engine.processes import StopSignal
from lorarec.errors import CheckpointError, Interrupted

pytestmark = pytest.mark.no_cover  # many whole trainings: other tests trace the same lines
Make = Callable[..., dict[str, Any]]
ADAPTERS: dict[str, Any] = {
    "lora": {"name": "lora", "dropout": 0.2},
    "adalora": {"name": "adalora", "init_r": 4, "target_r": 2, "dropout": 0.1, "delta_t": 1},
    "prefix": {"name": "prefix", "tokens": 4},
    "prefix with projection": {"name": "prefix", "tokens": 4, "projection": True},
    "a method of PEFT": {"name": "peft", "method": "unilora"},
    "full": "full",
    "frozen": "frozen",
}
HEADS: dict[str, Any] = {
    "rating": "rating",
    "rating_process": {"name": "rating_process", "folds": 100},
    "ctr": "ctr",
    "next_item": {"name": "next_item", "width": 16, "heads": 2},
}


def everything(run: Path) -> dict[str, Any]:
    """Everything that is equal to the bit in two equal runs: all weights, metrics and logged losses."""
    contents: dict[str, Any] = {}
    for path in sorted(run.rglob("*.safetensors")):
        for name, tensor in load_file(path).items():
            contents[f"{path.relative_to(run)}:{name}"] = tensor.numpy().tobytes()
    metrics = json.loads((run / "metrics.json").read_text())
    contents["metrics"] = {part: metrics[part] for part in ("validation", "test", "best_step", "steps")}
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    contents["history"] = [
        {k: v for k, v in line.items() if not k.endswith(("seconds", "per_second"))} for line in lines
    ]
    return contents


def killed(recipe: dict[str, Any], output: Path, step: int) -> None:
    """Train in a child process that is killed after a step, without a chance to clean up."""

    def work() -> None:
        os.environ["LAW_STOP"] = f"SIGKILL:{step}"
        lorarec.train(recipe, output=output)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == -9


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_run_stopped_in_the_middle_of_an_epoch_ends_as_if_never_stopped(
    adapter: str, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(ADAPTERS[adapter])
    lorarec.train(settings, output=tmp_path / "whole")
    monkeypatch.setenv("LAW_STOP", "SIGTERM:3")
    with pytest.raises(Interrupted, match="step 3"):
        lorarec.train(settings, output=tmp_path / "run")
    monkeypatch.delenv("LAW_STOP")
    lorarec.train(settings, output=tmp_path / "run", resume=True)
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")


def test_a_run_stopped_before_its_first_step_ends_as_if_never_stopped(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe({"name": "lora"}, train={"max_steps": 3})
    lorarec.train(settings, output=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(StopSignal, "__enter__", lambda signal: setattr(signal, "requested", True) or signal)
        with pytest.raises(Interrupted, match="step 0"):
            lorarec.train(settings, output=tmp_path / "run")
    lorarec.train(settings, output=tmp_path / "run", resume=True)
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("save_every", ["epoch", 4])
def test_a_killed_run_continues_from_its_last_checkpoint_as_if_never_stopped(
    head: str, save_every: int | str, recipe: Make, tmp_path: Path
) -> None:
    # With save_every=epoch it continues from the end of an epoch, with 4 from the middle of one.
    size = 4 if head == "next_item" else 32  # its examples are users, not events
    train = {"save_every": save_every, "epochs": 3, "batch_size": size}
    settings = recipe({"name": "lora", "dropout": 0.2}, HEADS[head], train=train)
    whole = lorarec.train(settings, output=tmp_path / "whole")
    killed(settings, tmp_path / "run", whole.metrics["steps"] - 2)
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "run.unfinished" / "checkpoints").glob("step-*"))
    lorarec.train(settings, output=tmp_path / "run", resume=True)
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")
    assert not (tmp_path / "run.unfinished").exists()


def test_a_run_may_be_stopped_again_and_again(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recipe(ADAPTERS["adalora"])
    whole = lorarec.train(settings, output=tmp_path / "whole")
    for step in range(1, whole.metrics["steps"], 2):
        monkeypatch.setenv("LAW_STOP", f"SIGTERM:{step}")
        with pytest.raises(Interrupted):
            lorarec.train(settings, output=tmp_path / "run", resume=step > 1)
    monkeypatch.delenv("LAW_STOP")
    lorarec.train(settings, output=tmp_path / "run", resume=True)
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")


def test_another_seed_is_another_run(recipe: Make, tmp_path: Path) -> None:
    lorarec.train(recipe(), output=tmp_path / "one")
    lorarec.train(recipe(seed=6), output=tmp_path / "other")
    assert everything(tmp_path / "one") != everything(tmp_path / "other")


def test_a_run_with_cached_hidden_states_and_shuffled_blocks_ends_as_if_never_stopped(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = {"name": "lora", "dropout": 0.2, "layers": [-1]}
    settings = recipe(adapter, train={"shuffle_block_size": 4})
    settings["backbone"]["dropout"] = False
    lorarec.train(settings, output=tmp_path / "whole")
    monkeypatch.setenv("LAW_STOP", "SIGTERM:3")
    with pytest.raises(Interrupted, match="step 3"):
        lorarec.train(settings, output=tmp_path / "run")
    monkeypatch.delenv("LAW_STOP")
    lorarec.train(settings, output=tmp_path / "run", resume=True)
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")


def test_a_run_with_another_implementation_of_attention_is_not_resumed(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAW_STOP", "SIGTERM:3")
    with pytest.raises(Interrupted, match="step 3"):
        lorarec.train(recipe(), output=tmp_path / "run")
    environment = json.loads((tmp_path / "run.unfinished" / "environment.json").read_text())
    assert environment["attention"] in ("eager", "sdpa")
    (tmp_path / "run.unfinished" / "environment.json").write_text(json.dumps(environment | {"attention": "another"}))
    with pytest.raises(CheckpointError, match="attention: was another, is "):
        lorarec.train(recipe(), output=tmp_path / "run", resume=True)

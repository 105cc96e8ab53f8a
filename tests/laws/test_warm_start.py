"""Training may start from a finished run's adapter; one that does not fit is refused; resuming does not need it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lorarec
from lorarec.errors import CheckpointError, IncompatibleError, Interrupted
from lorarec.pipeline.check import check

Make = Callable[..., dict[str, Any]]
UNCHANGED = {"max_steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
"""One step that changes no weight."""


def weights(run: Path) -> dict[str, torch.Tensor]:
    (file,) = (run / "adapter").glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("adapter", ["lora", {"name": "prefix", "tokens": 4}, "full"])
def test_training_starts_from_the_weights_of_the_run_named(adapter: Any, recipe: Make, tmp_path: Path) -> None:
    before = tmp_path / "before"
    lorarec.train(recipe(adapter), output=before)
    lorarec.train(recipe(adapter, train=UNCHANGED | {"warm_start": str(before)}), output=tmp_path / "after")
    started, saved = weights(tmp_path / "after"), weights(before)
    assert started.keys() == saved.keys()
    assert all(torch.allclose(started[name], saved[name], rtol=0, atol=1e-20) for name in saved)
    recorded = json.loads((tmp_path / "after" / "environment.json").read_text())["warm_start"]
    assert recorded["run"] == str(before)
    assert len(recorded["adapter_sha256"]) == 64
    assert "warm_start" not in json.loads((before / "environment.json").read_text())


def test_an_adapter_that_does_not_fit_is_refused(
    recipe: Make, tiny_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    before = tmp_path / "before"
    lorarec.train(recipe(train=UNCHANGED), output=before)
    start = UNCHANGED | {"warm_start": str(before)}
    with pytest.raises(IncompatibleError, match=r"adapter\.r: was 8, is 4"):
        check(recipe({"name": "lora", "r": 4}, train=start))
    with pytest.raises(IncompatibleError, match=r"adapter\.name: was lora, is frozen"):
        check(recipe("frozen", train=start))
    other = recipe(train=start)
    other["backbone"]["checkpoint"] = str(tiny_checkpoint("roberta"))
    with pytest.raises(IncompatibleError, match="trained on different weights of the backbone than those of 'text'"):
        lorarec.train(other, output=tmp_path / "other")
    lorarec.train(recipe("frozen", train=UNCHANGED), output=tmp_path / "frozen")
    with pytest.raises(IncompatibleError, match="'frozen' cannot start from saved weights"):
        check(recipe("frozen", train=UNCHANGED | {"warm_start": str(tmp_path / "frozen")}))


def test_resuming_continues_from_the_checkpoint_even_if_the_other_run_is_gone(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, run = tmp_path / "before", tmp_path / "run"
    lorarec.train(recipe(train={"max_steps": 2}), output=before)
    settings = recipe(train={"warm_start": str(before), "max_steps": 4})
    lorarec.train(settings, output=tmp_path / "whole")
    monkeypatch.setenv("LAW_STOP", "SIGTERM:2")
    with pytest.raises(Interrupted):
        lorarec.train(settings, output=run)
    monkeypatch.delenv("LAW_STOP")
    shutil.rmtree(before)
    lorarec.train(settings, output=run, resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(run)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert json.loads((run / "environment.json").read_text())["warm_start"]["run"] == str(before)


def test_a_run_that_starts_again_must_start_from_the_same_weights(recipe: Make, tmp_path: Path) -> None:
    before, run = tmp_path / "before", tmp_path / "run"
    lorarec.train(recipe(train=UNCHANGED), output=before)
    settings = recipe(train=UNCHANGED | {"warm_start": str(before)})
    lorarec.train(settings, output=run)
    unfinished = tmp_path / "run.unfinished"
    unfinished.mkdir()
    for name in ("recipe.yaml", "environment.json"):  # as if killed before the first checkpoint
        shutil.copy(run / name, unfinished / name)
    shutil.rmtree(run)
    shutil.rmtree(before)
    lorarec.train(recipe(train={"max_steps": 2}), output=before)
    with pytest.raises(CheckpointError, match="has changed since this run was started"):
        lorarec.train(settings, output=run, resume=True)

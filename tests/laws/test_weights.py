"""Laws: a weight of a row multiplies its loss, in the mean of the whole optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lorarec
from lorarec.contracts import Batch, Collation
from lorarec.errors import IncompatibleError, PluginError
from lorarec_heads.ctr import Ctr

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def train(recipe: Make, tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train on 160 events with the given row weights, and return the trained weights of the model."""

    def run(name: str, weights: np.ndarray | None, head: Any = "ctr", **settings: Any) -> dict[str, torch.Tensor]:
        draw = np.random.default_rng(0)
        rows = [f"u{draw.integers(12)},i{draw.integers(20)},{time},{draw.integers(2)}" for time in range(160)]
        importance = np.ones(160) if weights is None else weights
        lines = [f"{row},{value}" for row, value in zip(rows, importance, strict=True)]
        folder = tmp_path / f"data-{name}"
        folder.mkdir()
        (folder / "interactions.csv").write_text("\n".join(["user,item,time,click,importance", *lines]) + "\n")
        (folder / "items.csv").write_text("\n".join(["item,title", *(f"i{n},thing {n}" for n in range(20))]) + "\n")
        made = recipe(
            "lora",
            head,
            backbone={"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32},
            train={"epochs": 1, "max_steps": 4, "learning_rate": 1e-3, "batch_size": 16, **settings},
        )
        made["data"] = {"source": {"name": "files", "path": str(folder)}}
        if weights is not None:
            made["data"]["columns"] = {"weight": "importance"}
        path = lorarec.train(made, output=tmp_path / name).path
        return load_file(path / "adapter" / "adapter_model.safetensors") | load_file(path / "head.safetensors")

    return run


def test_weights_of_one_train_the_same_to_the_bit(train: Callable[..., Any]) -> None:
    plain, ones = train("plain", None), train("ones", np.ones(160))
    assert all(torch.equal(tensor, ones[name]) for name, tensor in plain.items())


def test_micro_batches_are_weighted_in_the_mean_of_the_whole_step(train: Callable[..., Any]) -> None:
    weights = np.random.default_rng(1).exponential(size=160).round(3)
    weights[::7] = 0.0
    one = train("one", weights)
    four = train("four", weights, batch_size=4, accumulate=4)
    scaled = train("scaled", 8 * weights)
    other = train("other", weights[::-1].copy())

    def difference(some: dict[str, torch.Tensor]) -> float:
        return max(float((t - some[n]).norm() / t.norm().clamp(min=1e-6)) for n, t in one.items())

    assert difference(four) < 0.02
    assert difference(scaled) < 0.02, "only the proportions of weights matter"
    assert difference(other) > 0.02, "the law can fail"


def test_a_head_that_does_not_say_which_rows_its_targets_are_about_is_refused(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    collate = Ctr.collate

    def silent(head: Ctr, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        return replace(collate(head, rows, collation), events=None)

    monkeypatch.setattr(Ctr, "collate", silent)
    with pytest.raises(IncompatibleError, match=r"head 'ctr' does not give the row .*Leave data.columns.weight out"):
        train("silent", np.ones(160))


def test_a_head_that_names_other_rows_than_it_has_targets_is_refused(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single row would be broadcast to all targets of the batch."""
    collate = Ctr.collate

    def short(head: Ctr, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        batch = collate(head, rows, collation)
        assert batch.events is not None
        return replace(batch, events=batch.events[:1])

    monkeypatch.setattr(Ctr, "collate", short)
    with pytest.raises(PluginError, match=r"head 'ctr' gives 1 rows .* for a batch of \d+ targets"):
        train("short", np.ones(160))

"""Laws: k accumulated micro-batches = one batch; the loss is the mean over real targets, however they are grouped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lorarec

pytestmark = pytest.mark.no_cover  # many whole trainings: other tests trace the same lines
Make = Callable[..., dict[str, Any]]
HEADS: dict[str, Any] = {
    "rating": "rating",
    "rating ordinal": {"name": "rating", "loss": "ordinal"},
    "rating_process": {"name": "rating_process", "folds": 100},
    "rating_process huber": {"name": "rating_process", "folds": 100, "loss": "huber"},
    "ctr": "ctr",
    "ctr joint": {"name": "ctr", "encoding": "joint", "max_history": 3},
    "ctr_ridge": {
        "name": "ctr_ridge",
        "biases": True,
        "factors": 4,
        "loss": {"name": "bce", "label_smoothing": 0.1},
    },
    "ctr ranking": {"name": "ctr", "loss": "ranking", "negatives_per_positive": 2},
    "ctr negatives": {"name": "ctr", "negatives": 2},
    "next_item": {"name": "next_item", "width": 16, "dropout": 0.0},
    "next_item sampled": {"name": "next_item", "width": 16, "dropout": 0.0, "loss": "sampled_softmax", "negatives": 8},
    "next_item mixed": {
        "name": "next_item",
        "width": 16,
        "dropout": 0.0,
        "stride": 4,
        "loss": "sampled_softmax",
        "negatives": 8,
        "sampling": "mixed",
    },
}


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The trained weights of a run."""
    return load_file(run / "adapter" / "adapter_model.safetensors") | load_file(run / "head.safetensors")


def assert_close(one: Path, other: Path) -> None:
    """Equal up to the rounding of float32 when sums are grouped differently: AdamW amplifies gradients near zero, so
    single numbers may differ, but not a tensor as a whole."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        if not tensor.is_floating_point():
            assert torch.equal(tensor, second[name]), name
            continue
        difference = float((tensor - second[name]).norm() / tensor.norm().clamp(min=1e-6))
        assert difference < 0.02, f"{name}: {difference:.4f}"


@pytest.mark.parametrize("head", HEADS)
def test_four_accumulated_micro_batches_train_as_one_batch(
    head: str, recipe: Make, tiny_checkpoint: Callable[[str], Path], events_alone: dict[str, Any], tmp_path: Path
) -> None:
    # The last window of the epoch is smaller, and unevenly filled.
    size = 8 if head.startswith("next_item") else 32
    backbone = {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32}
    common = {"epochs": 1, "max_steps": 6, "learning_rate": 1e-3}
    for name, train in {
        "one": {"batch_size": size, "accumulate": 1},
        "four": {"batch_size": size // 4, "accumulate": 4},
    }.items():
        settings = recipe("lora", HEADS[head], train=common | train, backbone=backbone)
        if head == "ctr negatives":
            settings["data"] = {**settings["data"], "source": events_alone}
        lorarec.train(settings, output=tmp_path / name)
    assert_close(tmp_path / "one", tmp_path / "four")


def test_the_extra_loss_of_an_adapter_counts_once_per_step_for_any_number_of_micro_batches(
    recipe: Make, tiny_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    backbone = {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32}
    adapter = {"name": "adalora", "init_r": 4, "target_r": 2, "orthogonal_weight": 50.0}
    for name, size, accumulate in (("one", 32, 1), ("four", 8, 4)):
        train = {"epochs": 1, "max_steps": 6, "learning_rate": 1e-3, "batch_size": size, "accumulate": accumulate}
        lorarec.train(recipe(adapter, "rating", train=train, backbone=backbone), output=tmp_path / name)
    assert_close(tmp_path / "one", tmp_path / "four")


def test_the_law_can_fail(recipe: Make, tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    backbone = {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32}
    for name, size in {"one": 32, "other": 16}.items():
        train = {"epochs": 1, "max_steps": 6, "learning_rate": 1e-3, "batch_size": size}
        lorarec.train(recipe("lora", "rating", train=train, backbone=backbone), output=tmp_path / name)
    with pytest.raises(AssertionError):
        assert_close(tmp_path / "one", tmp_path / "other")

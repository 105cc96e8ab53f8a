"""Every first-party loss satisfies the contract of losses, and is refused by name where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lorarec.contracts import Loss, LossFunction, Statistics
from lorarec.errors import PluginError, RecipeError
from lorarec.pipeline.assemble import open_recipe
from lorarec.registry.registry import Registry
from lorarec.registry.resolve import full_recipe
from lorarec.testing import check_loss, made
from lorarec_heads.ctr import Ctr
from lorarec_heads.rating import Rating

NAMES = ("mse", "huber", "ordinal", "bce", "ranking", "softmax", "sampled_softmax", "gbce")
REGISTRY = Registry.discover()


def test_all_losses_are_registered() -> None:
    assert set(NAMES) <= set(REGISTRY.names("loss"))


@pytest.mark.parametrize("name", NAMES)
def test_it_satisfies_the_contract(name: str) -> None:
    check_loss(REGISTRY.find("loss", name))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda losses: losses.sum(), "one loss a target"),
        (lambda losses: losses.detach() + 0 * losses, "the gradient does not reach"),
        (lambda losses: -losses, "right answers cost"),
        (lambda losses: losses * losses.mean(), "must not depend on the other targets"),
        (lambda losses: losses.double(), "finite and float32"),
    ],
)
def test_a_loss_that_breaks_a_rule_is_refused_by_it(change: Callable[[Tensor], Tensor], sentence: str) -> None:
    class Function(LossFunction):
        def forward(self, predictions: Tensor, labels: Tensor) -> Tensor:
            return change((predictions - labels).abs())

    with pytest.raises(AssertionError, match=sentence):
        check_loss(_of(Function))


def test_a_new_shape_needs_example_tensors() -> None:
    class Triple(LossFunction):
        def forward(self, one: Tensor, other: Tensor, third: Tensor) -> Tensor:
            return one - other + third

    loss = _of(Triple, shape="triple")
    with pytest.raises(AssertionError, match="shape 'triple' is none of regression, "):
        check_loss(loss)
    check_loss(loss, torch.ones(4), torch.ones(4), torch.ones(4))


def _of(function: type[LossFunction], shape: str = "regression") -> type[Loss]:
    class Given(Loss):
        name = "given"
        summary = "a test loss"

        def build(self, statistics: Statistics) -> LossFunction:
            return function()

    Given.shape = shape
    globals()["Given"] = Given  # or it could not be pickled
    Given.__qualname__ = "Given"
    return Given


def test_a_loss_of_another_shape_is_refused_with_those_that_fit() -> None:
    with pytest.raises(PluginError, match=r"loss 'bce' is one of binary, and this head takes regression. Losses that "
                       r"fit: huber, mse, ordinal"):  # fmt: skip
        made(Rating, loss="bce")
    with pytest.raises(PluginError, match="Did you mean 'ranking'"):
        made(Ctr, loss="rankin")
    with pytest.raises(PluginError, match="must be the name of a loss"):
        made(Ctr, loss={"label_smoothing": 0.1})


def recipe(tmp_path: Path, head: Any) -> dict[str, Any]:
    source = {"name": "files", "path": str(tmp_path)}
    backbone = {"name": "text", "checkpoint": "anything"}
    return {"name": "r", "data": {"source": source}, "backbone": backbone, "adapter": "lora", "head": head}


def test_a_recipe_names_a_loss_alone_or_with_options_and_records_all_of_them(tmp_path: Path) -> None:
    alone = open_recipe(recipe(tmp_path, "rating"), ["head.loss=huber"])
    assert full_recipe(alone)["head"]["loss"] == {"name": "huber", "delta": 1.0}
    assert str(alone.providers["loss huber"]).startswith("lorarec ")
    given = open_recipe(recipe(tmp_path, {"name": "rating", "loss": {"name": "huber", "delta": 2}}))
    assert full_recipe(given)["head"]["loss"] == {"name": "huber", "delta": 2.0}
    again = open_recipe(full_recipe(given))
    assert again.head.config == given.head.config or full_recipe(again) == full_recipe(given)


def test_a_mistyped_option_of_a_loss_is_named_with_the_nearest_setting(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"loss 'huber' has no setting 'delt'. Did you mean 'delta'"):
        open_recipe(recipe(tmp_path, {"name": "rating", "loss": {"name": "huber", "delt": 2}}))
    with pytest.raises((RecipeError, PluginError), match=r"head.loss: loss 'bce' is one of binary"):
        open_recipe(recipe(tmp_path, {"name": "rating", "loss": "bce"}))
    with pytest.raises(RecipeError, match=r"label_smoothing is a setting of the loss now: write loss: \{name: bce"):
        open_recipe(recipe(tmp_path, {"name": "ctr", "label_smoothing": 0.1}))

"""A third-party loss and training step: named in a recipe, resumed exactly."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lorarec
from lorarec.cli.main import run
from lorarec.cli.schema import recipe_schema
from lorarec.contracts import StepContext, TrainingStep
from lorarec.errors import Interrupted, LorarecError, PluginError, RecipeError
from lorarec.pipeline.check import check
from lorarec.registry.registry import Registry
from lorarec.testing import check_loss, check_training_step
from lorarec_steps.accumulate import Accumulate

Make = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the package on the path like an installed distribution, so that its entry point is discovered."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "training"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors") | load_file(run / "head.safetensors")


def test_their_loss_and_step_train_by_their_names_and_resume_to_the_bit(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"max_steps": 5, "save_every": 1, "accumulate": 2, "batch_size": 8}
    head = {"name": "ctr", "loss": {"name": "focal", "gamma": 1.5}}
    theirs = recipe(head=head, train=short | {"step": {"name": "sharpness", "rho": 0.2}})
    lorarec.train(theirs, output=tmp_path / "whole")
    monkeypatch.setenv("LAW_STOP", "SIGTERM:3")
    with pytest.raises(Interrupted):
        lorarec.train(theirs, output=tmp_path / "run")
    monkeypatch.delenv("LAW_STOP")
    lorarec.train(theirs, output=tmp_path / "run", resume=True)
    lorarec.train(recipe(head=head, train=short), output=tmp_path / "step")
    lorarec.train(recipe(train=theirs["train"]), output=tmp_path / "loss")
    whole, again, *others = (weights(tmp_path / name) for name in ("whole", "run", "step", "loss"))
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    for other in others:
        assert not all(torch.equal(tensor, other[name]) for name, tensor in whole.items())
    answers = lorarec.load(tmp_path / "run").predict(items=["i3"], histories=[["i1", "i2"]])
    assert answers == lorarec.load(tmp_path / "whole").predict(items=["i3"], histories=[["i1", "i2"]])


def test_an_unknown_setting_is_refused_with_the_nearest_name(recipe: Make) -> None:
    with pytest.raises(RecipeError, match=r"step 'sharpness' has no setting 'rh'. Did you mean 'rho'"):
        check(recipe(train={"step": {"name": "sharpness", "rh": 1}}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda loss: loss.requires_grad_(), "it must be the step's loss as a tensor of one number"),
        (lambda loss: loss[None], "it must be the step's loss as a tensor of one number"),
        (float, "it must be the step's loss as a tensor of one number"),
    ],
)
def test_a_step_that_does_not_return_a_plain_loss_is_refused(
    recipe: Make, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], sentence: str
) -> None:
    ours = Accumulate.gradients
    monkeypatch.setattr(Accumulate, "gradients", lambda step, given: change(ours(step, given)))
    with pytest.raises(PluginError, match=f"Training step 'accumulate' returned .*{sentence}"):
        check(recipe())


def test_a_step_without_a_backward_pass_is_refused(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Accumulate, "gradients", lambda step, given: sum(given.loss(batch).detach() for batch in given.batches)
    )
    for call in (check, lambda settings: lorarec.train(settings, output=tmp_path / "run")):
        with pytest.raises(PluginError, match="Training step 'accumulate' left no gradient in any weight"):
            call(recipe())


def test_check_takes_the_same_step_as_training(recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("their_step")
    taken = []
    theirs = module.Sharpness.gradients
    monkeypatch.setattr(module.Sharpness, "gradients", lambda step, given: taken.append(1) or theirs(step, given))
    report = check(recipe(train={"step": "sharpness"}))
    assert taken
    assert report.recipe["train"]["step"] == {"name": "sharpness", "rho": 0.05}


def test_their_loss_fits_only_heads_of_its_shape(recipe: Make) -> None:
    loss = check(recipe(head={"name": "ctr", "loss": "focal"})).recipe["head"]["loss"]
    assert loss == {"name": "focal", "gamma": 2.0}
    with pytest.raises(LorarecError, match="loss 'focal' is one of binary, and this head takes regression"):
        check(recipe(head={"name": "rating", "loss": "focal"}))


def test_their_loss_is_described_as_ours_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "show", "focal"]) == 0
    shown = capsys.readouterr().out
    assert "loss 'focal'" in shown and "gamma" in shown and "their-training 0.1" in shown
    assert "Shape: binary. Heads that take it: ctr" in shown
    schema = recipe_schema(Registry.discover())
    heads = {form["title"]: form for form in schema["properties"]["head"]["oneOf"] if "title" in form}
    assert "'focal'" in str(heads["head ctr"]["properties"]["loss"])
    assert "'focal'" not in str(heads["head rating"]["properties"]["loss"])


def test_their_parts_and_our_step_satisfy_the_laws() -> None:
    check_loss(importlib.import_module("their_loss").Focal, gamma=1.0)
    check_training_step(Accumulate)
    check_training_step(importlib.import_module("their_step").Sharpness, rho=0.5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda step: step.parameters[0].data.add_(1), "a step must leave the weights as they were"),
        (lambda step: step.clear(), "have no finite gradient"),
        (lambda step: step.parameters[0].grad.add_(torch.rand(1)), "draw from `step.generator`"),
    ],
)
def test_a_step_that_breaks_a_law_gets_an_error_that_names_it(
    change: Callable[[StepContext], Any], sentence: str
) -> None:
    class Broken(Accumulate):
        def gradients(self, step: StepContext) -> torch.Tensor:
            loss = super().gradients(step)
            change(step)
            return loss

    with pytest.raises(AssertionError, match=sentence):
        check_training_step(Broken)


def test_a_step_whose_gradients_are_never_exchanged_is_refused() -> None:
    class Alone(TrainingStep):
        name, summary = "alone", "never synchronizes with other processes"

        def gradients(self, step: StepContext) -> torch.Tensor:
            with step.synchronized(False):
                losses = [step.loss(batch) for batch in step.batches]
                step.backward(torch.stack(losses).sum())
            return torch.stack(losses).sum().detach()

    with pytest.raises(AssertionError, match="the last backward must be synchronized"):
        check_training_step(Alone)

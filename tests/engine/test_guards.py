"""Each silent failure is warned of once, with a likely cause; an adapter none of whose weights trains is refused; a
healthy run gets no warning."""

import logging

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

import lorarec
from lorarec.contracts import PairPredictor, Predictions, Scored, TrainState, VectorPredictor
from lorarec.engine.guards import STEPS, Guards, auc, collapsed, constant, moved_weights
from lorarec.errors import TrainingError
from lorarec.evaluation.evaluate import Evaluation
from lorarec.testing import made
from lorarec_adapters.lora import Lora
from lorarec_heads.ctr import Ctr
from lorarec_heads.next_item.task import NextItem
from lorarec_heads.rating import Rating

CTR = PairPredictor(made(Ctr))
STARS = PairPredictor(made(Rating))
NEXT = VectorPredictor(made(NextItem))
LABELS = np.tile([0.0, 1.0], 50)
GOOD = LABELS + np.linspace(0, 0.9, 100)
VECTORS = torch.eye(6)


def evaluation(scores, labels, vectors=None):
    scored = None if labels is None else Scored(scores, labels)
    return Evaluation({}, Predictions(np.arange(len(scores)), {}), scored, vectors)


def warned(predictor, scores=GOOD, labels=LABELS, vectors=VECTORS, loss=0.5, first=0.7):
    guards = Guards(predictor.tells_apart())
    guards.on_optimizer_step(TrainState(logs={"loss": first}))
    state = TrainState(epoch=1, logs={"loss": loss})
    guards.on_optimizer_step(state)
    for _ in range(2):
        guards.on_evaluation(evaluation(scores, labels, vectors))
        guards.on_epoch_end(state)
    return guards.warnings


@pytest.mark.parametrize("predictor", [CTR, STARS, NEXT])
def test_a_healthy_run_gets_no_warning(predictor):
    labels = None if predictor is NEXT else LABELS
    assert warned(predictor, labels=labels) == {}


def test_constant_scores(caplog):
    with caplog.at_level(logging.WARNING):
        assert list(warned(STARS, scores=np.full(100, 3.1))) == ["constant scores"]
    assert len(caplog.records) == 1, "the warning is logged once"
    assert "Constant scores: the model gives all 100 rows of validation the same score" in caplog.text
    assert "learning_rate" in caplog.text


def test_collapsed_item_vectors():
    same = torch.ones(6, 4) + 1e-4 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert list(warned(NEXT, labels=None, vectors=same)) == ["collapsed item vectors"]


def test_an_auc_near_one_half_after_the_first_epoch():
    coin = np.repeat(np.arange(50.0), 2)  # a row of each label gets each score
    warnings = warned(CTR, scores=coin)
    assert list(warnings) == ["AUC near one half"] and "no better than chance" in warnings["AUC near one half"]
    assert warned(STARS, scores=coin) == {}, "stars have no AUC"


@pytest.mark.parametrize("predictor", [CTR, NEXT])
def test_a_loss_near_zero_with_negatives(predictor):
    labels = None if predictor is NEXT else LABELS
    assert list(warned(predictor, labels=labels, loss=2e-5)) == ["vanished negatives"]
    assert warned(STARS, loss=2e-5) == {}
    assert list(warned(predictor, labels=labels, loss=0.0, first=0.0)) == ["vanished negatives"]


def test_a_loss_that_is_small_by_its_scale_is_not_warned_of():
    """gBCE over 1,536 of 16,859 items begins at 0.002 and is at 0.0007 where the target's probability is 0.05."""
    assert warned(NEXT, labels=None, loss=6.6e-4, first=2.1e-3) == {}


def test_after_a_resume_the_loss_is_still_compared_with_the_first_one():
    before = Guards(True)
    before.on_optimizer_step(TrainState(logs={"loss": 0.7}))
    again = Guards(True)
    again.load_state_dict(before.state_dict())
    again.on_optimizer_step(TrainState(logs={"loss": 2e-5}))
    again.on_epoch_end(TrainState(epoch=1))
    assert again.warnings.keys() == {"vanished negatives"}


def test_before_the_first_evaluation_there_is_nothing_to_warn_of():
    guards = Guards(True)
    guards.on_epoch_end(TrainState(epoch=1))
    assert guards.warnings == {}


def test_a_warning_is_not_repeated_after_a_resume():
    said = Guards(True)
    said.warnings["constant scores"] = "..."
    again = Guards(False)
    again.load_state_dict(said.state_dict())
    again.on_evaluation(evaluation(np.zeros(9), np.zeros(9)))
    assert again.warnings == {"constant scores": "..."}


def test_the_measures_detect_constant_and_collapsed_values():
    assert constant(np.full(5, 1e9)) and constant(np.zeros(3))
    assert not constant(np.array([0.001, 0.0011])) and not constant(np.array([np.nan, 1.0]))
    assert collapsed(-3 * torch.ones(4, 2)) and not collapsed(torch.randn(4, 2)) and not collapsed(torch.ones(1, 2))
    assert auc(np.array([1, 2, 2, 3.0]), np.array([0, 0, 1, 1.0])) == 0.875
    assert np.isnan(auc(np.ones(2), np.ones(2)))


def test_a_run_that_learns_nothing_keeps_the_warning(tiny_checkpoint, tmp_path, caplog):
    # No user has a history, and all items have the same text.
    lines = [f"u{event},i{event % 7},{event},{event * 7919 % 5 % 2}" for event in range(100)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,time,click", *lines]))
    (tmp_path / "items.csv").write_text("\n".join(["item,title", *(f"i{item},thing" for item in range(7))]))
    recipe = {
        "name": "dead",
        "data": {"source": {"name": "files", "path": str(tmp_path)}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert"))},
        "adapter": "lora",
        "head": {"name": "ctr"},
        "train": {"epochs": 1, "batch_size": 16},
    }
    with caplog.at_level(logging.WARNING):
        warnings = lorarec.train(recipe, output=tmp_path / "run").metrics["warnings"]
    assert {"constant scores", "AUC near one half"} <= set(warnings)
    assert "Constant scores: " in caplog.text


class Model(nn.Module):
    """Two weights of an adapter and one of a head; the loss depends on those in `alive`."""

    def __init__(self, *alive):
        super().__init__()
        self.network, self.head = nn.Module(), nn.Module()
        self.network.one, self.network.other = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))
        self.head.weight = nn.Parameter(torch.ones(3))
        self.alive = alive

    def loss(self):
        return sum(weight.sum() * (name in self.alive) for name, weight in self.named_parameters())


def trained(model, steps=STEPS, optimizer_class=torch.optim.AdamW, late=0, early=STEPS):
    """The warnings after `steps` steps; the loss is 0 up to step `late` and after step `early`."""
    optimizer = optimizer_class(model.parameters(), lr=0.01)
    guards = Guards(False, lambda: moved_weights(model, optimizer, Accelerator(cpu=True)))
    for step in range(1, steps + 1):
        (model.loss() * (late < step <= early)).backward()
        optimizer.step()
        guards.on_optimizer_step(TrainState(step=step))
        optimizer.zero_grad()
    return guards.warnings


def test_an_adapter_none_of_whose_weights_has_had_a_gradient_is_refused_by_name():
    with pytest.raises(TrainingError, match=rf"None of the adapter's 2 weights .* first {STEPS} steps.*'one'"):
        trained(Model("head.weight"))


def test_a_weight_among_others_is_warned_of_by_name(caplog):
    with caplog.at_level(logging.WARNING):
        warnings = trained(Model("head.weight", "network.one"))
    assert list(warnings) == ["weights without gradient"]
    assert "1 of the adapter's 2 weights" in caplog.text and "'other'" in caplog.text


def test_an_adapter_whose_weights_all_have_a_gradient_gets_no_warning():
    assert trained(Model("network.one", "network.other")) == {}


def test_zeros_in_the_first_steps_alone_are_not_warned_of():
    assert trained(Model("network.one", "network.other"), late=STEPS - 1) == {}


def test_a_weight_that_had_a_gradient_in_one_step_is_not_warned_of():
    assert trained(Model("network.one", "network.other"), early=1) == {}


def test_a_run_of_fewer_steps_is_not_checked():
    assert trained(Model(), steps=STEPS - 1) == {}


def test_a_head_may_have_weights_that_nothing_depends_on_yet():
    """For instance those of ids that no batch has had."""
    assert trained(Model("network.one", "network.other"), steps=STEPS) == {}


def test_without_averages_of_gradients_nothing_is_checked():
    assert trained(Model(), optimizer_class=torch.optim.SGD) == {}


def test_frozen_weights_are_not_checked():
    model = Model("head.weight")
    for weight in model.network.parameters():
        weight.requires_grad = False
    assert trained(model) == {}


@pytest.mark.parametrize(("cut", "dead"), [("", 0), ("layer.0.attention.self.query", 2), ("lora_B", 8)])
def test_a_run_is_warned_of_weights_that_no_output_depends_on(cut, dead, tiny_checkpoint, tmp_path, monkeypatch):
    attach = Lora.attach

    def attach_cut(*given, **named):
        """LoRA whose matrices B, where their names have `cut` in them, give 0 whatever their values."""
        module = attach(*given, **named)
        for name, layer in module.named_modules():
            if "lora_B." in name and cut and cut in name:
                layer.register_forward_hook(lambda layer, inputs, output: output * 0)
        return module

    monkeypatch.setattr(Lora, "attach", attach_cut)
    recipe = {
        "name": "cut",
        "data": {"source": {"name": "synthetic", "users": 20, "items": 40, "events": 200}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 16},
        "adapter": "lora",
        "head": "ctr",
        "train": {"epochs": 1, "batch_size": 8, "max_steps": STEPS, "save_every": "never"},
    }
    if dead == 8:
        with pytest.raises(TrainingError, match="None of the adapter's 8 weights"):
            lorarec.train(recipe, output=tmp_path / "run")
        return
    warnings = lorarec.train(recipe, output=tmp_path / "run").metrics["warnings"]
    said = [text for kind, text in warnings.items() if kind == "weights without gradient"]
    assert [text.split(" weights")[0] for text in said] == ["2 of the adapter's 8"] * (dead > 0)

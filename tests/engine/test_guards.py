"""What fails without an error is warned of, once, with a likely cause; what works is let be."""

import logging

import numpy as np
import pytest
import torch

import lorarec
from lorarec.contracts import PairPredictor, Predictions, Scored, TrainState, VectorPredictor
from lorarec.engine.guards import Guards, area, collapsed, constant
from lorarec.evaluation.evaluate import Evaluation
from lorarec.testing import made
from lorarec_heads.ctr import Ctr
from lorarec_heads.next_item import NextItem
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
        guards.look_at(evaluation(scores, labels, vectors))
        guards.on_epoch_end(state)
    return guards.warnings


@pytest.mark.parametrize("predictor", [CTR, STARS, NEXT])
def test_a_healthy_run_is_let_be(predictor):
    labels = None if predictor is NEXT else LABELS
    assert warned(predictor, labels=labels) == {}


def test_constant_scores(caplog):
    with caplog.at_level(logging.WARNING):
        assert list(warned(STARS, scores=np.full(100, 3.1))) == ["constant scores"]
    assert len(caplog.records) == 1, "it is said once"
    assert "Constant scores: the model scores all 100 rows of validation alike" in caplog.text
    assert "learning_rate" in caplog.text


def test_collapsed_item_vectors():
    same = torch.ones(6, 4) + 1e-4 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert list(warned(NEXT, labels=None, vectors=same)) == ["collapsed item vectors"]


def test_an_auc_near_one_half_after_the_first_epoch():
    coin = np.repeat(np.arange(50.0), 2)  # a row of each label gets each score
    found = warned(CTR, scores=coin)
    assert list(found) == ["AUC near one half"] and "no more than a coin" in found["AUC near one half"]
    assert warned(STARS, scores=coin) == {}, "stars have no AUC"


@pytest.mark.parametrize("predictor", [CTR, NEXT])
def test_a_loss_of_nothing_where_negatives_should_be(predictor):
    labels = None if predictor is NEXT else LABELS
    assert list(warned(predictor, labels=labels, loss=2e-5)) == ["vanished negatives"]
    assert warned(STARS, loss=2e-5) == {}
    assert list(warned(predictor, labels=labels, loss=0.0, first=0.0)) == ["vanished negatives"]


def test_a_loss_that_is_small_by_its_scale_is_let_be():
    """gBCE over 1,536 of 16,859 items begins at 0.002 and is at 0.0007 where the target's probability is 0.05."""
    assert warned(NEXT, labels=None, loss=6.6e-4, first=2.1e-3) == {}


def test_after_a_resume_the_loss_is_still_measured_by_the_first_one():
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


def test_what_was_said_is_not_said_again_after_a_resume():
    said = Guards(True)
    said.warnings["constant scores"] = "..."
    again = Guards(False)
    again.load_state_dict(said.state_dict())
    again.look_at(evaluation(np.zeros(9), np.zeros(9)))
    assert again.warnings == {"constant scores": "..."}


def test_the_measures_know_what_is_alike():
    assert constant(np.full(5, 1e9)) and constant(np.zeros(3))
    assert not constant(np.array([0.001, 0.0011])) and not constant(np.array([np.nan, 1.0]))
    assert collapsed(-3 * torch.ones(4, 2)) and not collapsed(torch.randn(4, 2)) and not collapsed(torch.ones(1, 2))
    assert area(np.array([1, 2, 2, 3.0]), np.array([0, 0, 1, 1.0])) == 0.875
    assert np.isnan(area(np.ones(2), np.ones(2)))


def test_a_run_that_learns_nothing_keeps_the_warning(tiny_checkpoint, tmp_path, caplog):
    # Nobody has a history, and all items read alike.
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
        found = lorarec.train(recipe, output=tmp_path / "run").metrics["warnings"]
    assert {"constant scores", "AUC near one half"} <= set(found)
    assert "Constant scores: " in caplog.text

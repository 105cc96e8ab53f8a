"""The ridge of clicks: item qualities and factors, the prior, pairwise losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lorarec.contracts import Part
from lorarec.testing import made
from lorarec_process.ctr_ridge import CtrRidge

World = Any


def auc(toy: World, head: Any) -> float:
    examples = toy.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        scores = head.score(toy.encoder(batch), batch).numpy()
    labels = examples.labels()
    return float((scores[labels == 1][:, None] > scores[labels == 0]).mean())


@pytest.mark.parametrize("loss", ["bce", "ranking"])
def test_over_all_targets_of_an_epoch_the_prior_counts_once(loss: Any, world: Callable[..., World]) -> None:
    toy = world(made(CtrRidge, biases=True, factors=4, loss=loss), "click")
    head, examples = toy.build(), toy.examples()
    quality = head.ridge.quality
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in (*quality.parameters(), head.ridge.factors.weight):
            weight.normal_()
    total, seen = 0.0, set()
    for rows in np.array_split(np.arange(len(examples)), 5):
        tensors = examples.batch(rows).tensors
        items = tensors["items"][tensors["candidate"]]
        seen |= set(items.tolist())
        total += head.ridge.penalty(items, tensors["own_share"], tensors["share"]).item()
    drawn = head.ridge.factors(torch.tensor(sorted(seen))).detach()
    squares = (quality.own[sorted(seen)].square().sum(), quality.text.square().sum(), drawn.square().sum())
    expected = 0.5 * sum(square.item() for square in squares)
    assert total == pytest.approx(expected, rel=1e-4)


def test_item_qualities_are_learned_and_those_of_new_items_stay_zero(world: Callable[..., World]) -> None:
    toy = world(made(CtrRidge, biases=True), "click")
    head = toy.build()
    losses = toy.train(head, steps=40, lr=0.05)
    assert losses[-1] < losses[0]
    unseen = np.setdiff1d(np.arange(24), toy.examples().items)
    assert (head.ridge.quality.own[torch.from_numpy(unseen)] == 0).all()
    assert auc(toy, head) > 0.85


def test_factors_learn_which_items_are_similar_without_texts(world: Callable[..., World]) -> None:
    areas = {}
    for factors in (0, 8):
        toy = world(made(CtrRidge, factors=factors), "click")
        toy.vectors = torch.ones_like(toy.vectors)
        head = toy.build()
        toy.train(head, steps=150, lr=0.1)
        areas[factors] = auc(toy, head)
    assert areas[8] > areas[0] + 0.2


def test_a_new_item_or_a_user_without_history_is_scored_without_factors(world: Callable[..., World]) -> None:
    toy = world(made(CtrRidge, factors=8), "click")
    head, unseen = toy.build().eval(), int(np.flatnonzero(toy.data.statistics.item_counts == 0)[0])
    requests = toy.requests([[1, 2], [], [1, 2]], [[5.0, 1.0], [], [5.0, 1.0]], [unseen, 3, 3])

    def scores() -> torch.Tensor:
        batch = requests.batch(np.arange(3))
        with torch.no_grad():
            scored: torch.Tensor = head.score(toy.encoder(batch), batch)
        return scored

    before = scores()
    with torch.no_grad():
        head.ridge.factors.weight.normal_(std=3.0)
    cold_item, cold_user, known = (scores() - before).abs().tolist()
    # A new item's score also changes, since the history's residuals are explained by factors, but by less.
    assert cold_user == 0 and known > 0.01 and torch.isfinite(scores()).all()
    assert cold_item < known


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"history_targets": True, "negatives": 2}, "negatives is for data without"),
        ({"bias_penalty": 1.0}, "bias_penalty"),
        ({"negatives_per_positive": 2}, "negatives_per_positive would do nothing"),
    ],
)
def test_an_option_without_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made(CtrRidge, **options)


@pytest.mark.parametrize("options", [{"biases": True}, {"encoding": "joint"}])
def test_no_weight_only_shifts_all_logits(options: dict[str, Any], world: Callable[..., World]) -> None:
    toy = world(made(CtrRidge, loss="ranking", **options), "click")
    head = toy.build()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    toy.loss(head, toy.examples().batch(np.arange(40))).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad.norm() < 1e-4] == []


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_label_smoothing_moves_labels_towards_one_half(share: float, world: Callable[..., World]) -> None:
    """BCE of logit x is softplus(x) - x y, so moving y to (1 - share) y + share / 2 adds share * x * (y - 1/2)."""
    plain, smooth = (
        world(made(CtrRidge, loss={"name": "bce", "label_smoothing": amount}), "click") for amount in (0.0, share)
    )
    batch = plain.examples().batch(np.arange(40))
    head, other = plain.build().eval(), smooth.build().eval()
    with torch.no_grad():
        head.base.fill_(1.5)
        other.base.fill_(1.5)
        logit = head.score(plain.encoder(batch), batch).double().logit()
        added = smooth.loss(other, batch) - plain.loss(head, batch)
    labels = batch.tensors["labels"]
    assert 0 < labels.mean() < 1
    assert float(added) == pytest.approx(float(share * (logit * (labels - 0.5)).sum()), rel=1e-3)

"""Quality and taste: what is learnt of items, what a history says of its user, and the prior, counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lorarec.contracts import Part
from lorarec.testing import made
from lorarec_heads.ctr import Ctr
from lorarec_heads.item_quality import ItemQuality
from lorarec_heads.taste_ridge import TasteRidge

World = Any


def ridge(features: list[np.ndarray] | None = None, unlabelled: float = 0.0) -> TasteRidge:
    return TasteRidge(0.5, np.ones(4, bool), 3, features or [], unlabelled)


def logits(head: TasteRidge, liked: list[list[float]], texts: torch.Tensor | None = None) -> torch.Tensor:
    """Candidate 0 after a history of items 1, 2, 3."""
    texts = torch.tensor([[5.0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5]]) if texts is None else texts
    rows = len(liked)
    history = torch.tensor([[1, 2, 3]] * rows)
    seen = (history, torch.arange(rows), torch.ones_like(history, dtype=torch.bool), torch.tensor(liked))
    with torch.no_grad():
        return head(torch.arange(4), texts, torch.zeros(rows, dtype=torch.int64), *seen)


def auc(toy: World, head: Any) -> float:
    examples = toy.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        scores = head.score(toy.encoder(batch), batch).numpy()
    labels = examples.labels()
    return float((scores[labels == 1][:, None] > scores[labels == 0]).mean())


def test_a_like_of_a_likely_text_counts_more_than_one_of_another() -> None:
    same, other, none = logits(ridge(), [[1, -1, -1], [-1, 1, -1], [0, 0, 0]])
    assert same > other and none == 0


def test_columns_of_items_tell_which_likes_count() -> None:
    flat = torch.ones(4, 3) * torch.tensor([1.0, 2.0, 3.0])  # texts all alike
    genres = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    alike, unlike = logits(ridge([genres]), [[-1, 1, -1], [1, -1, -1]], flat)
    assert alike > unlike


def test_an_event_without_feedback_counts_as_liked_only_where_all_are_clicks() -> None:
    assert logits(ridge(unlabelled=1.0), [[0, 0, 0]]) > 0 == logits(ridge(), [[0, 0, 0]])


def test_what_is_learnt_of_an_item_also_lifts_others_like_it() -> None:
    quality = ItemQuality(np.ones(3, bool), 2, [])
    with torch.no_grad():
        assert quality.own is not None and quality.text is not None
        quality.own[0], quality.text[0] = 1.0, 1.0
    texts = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    own, alike, unlike = quality(torch.arange(3), texts, []).tolist()
    assert own > alike > unlike == 0


def test_what_is_learnt_of_a_column_lifts_the_items_that_have_it() -> None:
    quality = ItemQuality(np.zeros(0, bool), 0, [2])
    with torch.no_grad():
        quality.columns[0][0] = 1.0
    having, lacking = quality(torch.arange(2), None, [torch.eye(2)]).tolist()
    assert having > lacking == 0


@pytest.mark.parametrize("loss", ["bce", "ranking"])
def test_over_all_facts_of_an_epoch_the_prior_is_counted_once(loss: Any, world: Callable[..., World]) -> None:
    toy = world(made(Ctr, history_model="ridge", biases=True, factors=4, loss=loss), "click")
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
    wanted = 0.5 * sum(square.item() for square in squares)
    assert total == pytest.approx(wanted, rel=1e-4)


def test_a_good_item_is_learnt_from_few_facts_and_an_unseen_one_stays_at_its_text(world: Callable[..., World]) -> None:
    toy = world(made(Ctr, history_model="ridge", biases=True), "click")
    head = toy.build()
    losses = toy.train(head, steps=40, lr=0.05)
    assert losses[-1] < losses[0]
    unseen = np.setdiff1d(np.arange(24), toy.examples().items)
    assert (head.ridge.quality.own[torch.from_numpy(unseen)] == 0).all()
    assert auc(toy, head) > 0.85


def test_factors_learn_which_items_go_together_where_texts_tell_nothing(world: Callable[..., World]) -> None:
    found = {}
    for factors in (0, 8):
        toy = world(made(Ctr, history_model="ridge", factors=factors), "click")
        toy.vectors = torch.ones_like(toy.vectors)
        head = toy.build()
        toy.train(head, steps=150, lr=0.1)
        found[factors] = auc(toy, head)
    assert found[8] > found[0] + 0.2


def test_an_item_never_seen_or_a_user_without_history_is_scored_without_factors(world: Callable[..., World]) -> None:
    toy = world(made(Ctr, history_model="ridge", factors=8), "click")
    head, unseen = toy.build().eval(), int(np.flatnonzero(toy.data.statistics.item_counts == 0)[0])
    asked = toy.requests([[1, 2], [], [1, 2]], [[5.0, 1.0], [], [5.0, 1.0]], [unseen, 3, 3])

    def scores() -> torch.Tensor:
        batch = asked.batch(np.arange(3))
        with torch.no_grad():
            return head.score(toy.encoder(batch), batch)

    before = scores()
    with torch.no_grad():
        head.ridge.factors.weight.normal_(std=3.0)
    cold_item, cold_user, known = (scores() - before).abs().tolist()
    # The rest of the history explains itself otherwise: what it says of others shifts, but not by their factors.
    assert cold_user == 0 and known > 0.01 and torch.isfinite(scores()).all()
    assert cold_item < known


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"factors": 4}, "factors would do nothing"),
        ({"item_columns": ["year"]}, "item_columns would do nothing"),
        ({"history_model": "ridge", "biases": True, "bias_penalty": 1.0}, "bias_penalty would do nothing"),
        ({"history_targets": True, "negatives": 2}, "negatives is for data without"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        made(Ctr, **options)


def test_smoothed_labels_pull_the_loss_of_a_sure_answer_up(world: Callable[..., World]) -> None:
    plain, smooth = (world(made(Ctr, loss={"name": "bce", "label_smoothing": share}), "click") for share in (0.0, 0.2))
    batch, head = plain.examples().batch(np.arange(30)), plain.build()
    other = smooth.build()
    for each in (head, other):
        with torch.no_grad():
            each.base.fill_(9.0)
    likes = batch.tensors["labels"].fill_(1.0)
    assert likes.min() == 1 and smooth.loss(other, batch) > plain.loss(head, batch) + 1

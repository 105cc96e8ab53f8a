"""What holds for every head: no label is read to score, halves add up, empty histories are finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lorarec.contracts import Part, TaskHead
from lorarec.testing import made
from lorarec_heads.comparison import Comparison
from lorarec_heads.ctr import Ctr
from lorarec_heads.next_item.task import NextItem
from lorarec_heads.rating import Rating

World = Any


def of_process(name: str, **options: Any) -> TaskHead:
    """A head of lorarec-process. Skips where it is not installed."""
    package = pytest.importorskip("lorarec_process", reason="lorarec-process is not installed")
    return made(getattr(package, name), **options)


HEADS: dict[str, tuple[Callable[[], TaskHead], tuple[str, ...]]] = {
    "rating": (lambda: made(Rating), ("rating",)),
    "rating joint": (lambda: made(Rating, encoding="joint", max_history=5), ("rating",)),
    "rating text alone": (lambda: made(Rating, biases=False, factors=0), ("rating",)),
    "rating groups": (lambda: made(Rating, targets_per_example=7), ("rating",)),
    "rating huber": (lambda: made(Rating, loss="huber"), ("rating",)),
    "rating_process": (lambda: of_process("RatingProcess", folds=20), ("rating",)),
    "rating_ridge": (lambda: of_process("RatingRidge"), ("rating",)),
    "rating_ridge joint": (lambda: of_process("RatingRidge", encoding="joint", max_history=5), ("rating",)),
    "rating_ridge text alone": (lambda: of_process("RatingRidge", biases=False, factors=0), ("rating",)),
    "rating_ridge groups": (lambda: of_process("RatingRidge", targets_per_example=7), ("rating",)),
    "rating_ridge huber": (lambda: of_process("RatingRidge", loss="huber"), ("rating",)),
    "ctr": (lambda: made(Ctr, biases=True), ("click",)),
    "ctr joint": (lambda: made(Ctr, encoding="joint", max_history=5), ("click",)),
    "ctr sampled": (lambda: made(Ctr, negatives=3), ()),
    "ctr_ridge": (lambda: of_process("CtrRidge", biases=True), ("click",)),
    "ctr_ridge factors": (lambda: of_process("CtrRidge", factors=4), ("click",)),
    "ctr ranking": (lambda: made(Ctr, loss="ranking"), ("click",)),
    "ctr ranking sampled": (lambda: made(Ctr, loss="ranking", negatives_per_positive=3, negatives=3), ()),
    "ctr_ridge joint": (lambda: of_process("CtrRidge", encoding="joint", max_history=5), ("click",)),
    "ctr_ridge sampled": (lambda: of_process("CtrRidge", biases=True, negatives=3), ()),
    "comparison": (lambda: Comparison(Comparison.Config(words=64, pairs_per_example=1)), ("rating",)),
    "comparison without words": (lambda: Comparison(Comparison.Config(words=0, pairs_per_example=1)), ("rating",)),
    "next_item": (lambda: made(NextItem, width=8), ()),
    "next_item feedback": (lambda: made(NextItem, width=8, feedback=True), ("rating",)),
    "next_item text alone": (lambda: made(NextItem, width=8, ids=False), ()),
    "next_item mean": (lambda: made(NextItem, width=8, encoder="mean"), ()),
    "next_item sampled": (lambda: made(NextItem, width=8, loss="sampled_softmax", negatives=6), ()),
    "next_item mixed": (
        lambda: made(NextItem, width=8, loss="sampled_softmax", negatives=9, sampling="mixed", stride=2),
        (),
    ),
    "next_item in batch": (
        lambda: made(
            NextItem, width=8, loss="sampled_softmax", negatives=4, sampling="mixed_in_batch", temperature=0.5
        ),
        (),
    ),
    "next_item gbce": (lambda: made(NextItem, width=8, loss="gbce", negatives=6, temperature=0.5), ()),
    "next_item id dropout": (
        lambda: made(NextItem, width=8, id_dropout=0.2, loss={"name": "softmax", "label_smoothing": 0.1}),
        (),
    ),
    "next_item backbone": (lambda: made(NextItem, width=8, encoder="backbone"), ()),
    "next_item steps": (lambda: made(NextItem, width=8, encoder="backbone_steps"), ()),
}


@pytest.fixture(params=HEADS)
def case(request: pytest.FixtureRequest, world: Callable[..., World], events: dict[str, list[Any]]) -> World:
    make, columns = HEADS[request.param]
    if request.param.startswith("comparison"):
        # Users' tastes say nothing of which item is the better one: here odd items are, for everybody.
        events["rating"] = [2.0 if item % 2 else -2.0 for item in events["item"]]
    return world(make(), *columns, with_steps="steps" in request.param)


def scores(world: World, head: Any, batch: Any, vectors: torch.Tensor | None = None) -> torch.Tensor:
    encode = world.encoder(batch, vectors)
    with torch.no_grad():
        return head.score(encode, batch) if hasattr(head, "score") else head.user_vectors(encode, batch)


# Where the batch's own targets are its negatives, halves have fewer.
@pytest.mark.parametrize("case", [name for name in HEADS if name != "next_item in batch"], indirect=True)
def test_the_losses_of_two_halves_are_the_loss_of_the_whole(case: World) -> None:
    head = case.build().eval()
    case.train(head, steps=3)
    head.eval()
    examples, rows = case.examples(), np.arange(20)
    whole = examples.batch(rows, 1, 7)
    halves = [examples.batch(part, 1, 7) for part in (rows[:7], rows[7:])]
    assert sum(half.count for half in halves) == whole.count
    torch.testing.assert_close(
        sum(case.loss(head, half) for half in halves), case.loss(head, whole), rtol=1e-4, atol=1e-3
    )


def test_training_lowers_the_loss(case: World) -> None:
    losses = case.train(case.build(), steps=30)
    assert np.mean(losses[-5:]) < np.mean(losses[:3])


def test_every_weight_gets_a_gradient(case: World) -> None:
    head = case.build()
    batch = case.examples().batch(np.arange(16))
    case.loss(head, batch).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad is None] == []


def test_gradients_reach_the_item_vectors(case: World) -> None:
    head = case.build()
    case.train(head, steps=3)
    vectors = case.vectors.clone().requires_grad_()
    batch = case.examples().batch(np.arange(16))
    head.losses(case.encoder(batch, vectors), batch).sum().backward()
    assert vectors.grad is not None and vectors.grad.abs().sum() > 0


def test_a_batch_for_scoring_holds_no_label(case: World) -> None:
    held_out = case.examples(Part.TEST)
    batch = held_out.batch(np.arange(10))
    assert not {"labels", "targets"} & set(batch.tensors)
    assert torch.isfinite(scores(case, case.build().eval(), batch)).all()


def test_scores_do_not_depend_on_the_epoch_or_the_neighbours(case: World) -> None:
    head = case.build().eval()
    held_out = case.examples(Part.TEST)
    together = scores(case, head, held_out.batch(np.arange(10), 0, 0))
    alone = torch.cat([scores(case, head, held_out.batch(np.array([row]), 3, 9)) for row in range(10)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_requests_without_history_feedback_or_known_user_are_answered(case: World) -> None:
    head = case.build().eval()
    requests = case.requests([[], [1, 2, 3], [4]], [[], [5.0, float("nan"), 1.0], [1.0]], [3, 4, 5])
    assert len(requests) == 3
    assert torch.isfinite(scores(case, head, requests.batch(np.arange(3)))).all()


def test_an_empty_history_alone_in_its_batch_has_finite_gradients(case: World) -> None:
    head = case.build()
    requests = case.requests([[]], [[]], [3])
    batch = requests.batch(np.arange(1))
    vectors = case.vectors.clone().requires_grad_()
    encode = case.encoder(batch, vectors)
    found = head.score(encode, batch) if hasattr(head, "score") else head.user_vectors(encode, batch)
    found.sum().backward()
    for weight in [*head.parameters(), vectors]:
        assert weight.grad is None or torch.isfinite(weight.grad).all()


def test_no_history_holds_its_own_target(case: World) -> None:
    for part in (Part.TRAIN, Part.TEST):
        examples = case.examples(part)
        histories = examples.collation.histories
        for event in examples.events[:50]:
            assert int(event) not in histories.before(int(event)).events


def test_a_saved_head_scores_as_before(case: World) -> None:
    head = case.build()
    case.train(head, steps=3)
    twin = case.build(seed=9)
    twin.load_state_dict(head.state_dict())
    batch = case.examples(Part.TEST).batch(np.arange(10))
    assert torch.equal(scores(case, head.eval(), batch), scores(case, twin.eval(), batch))


def test_weights_of_items_never_seen_are_ignored(case: World) -> None:
    """Items 23 and those beside it that training never saw: their text alone speaks."""
    head = case.build().eval()
    held_out = case.examples(Part.TEST)
    batch = held_out.batch(np.arange(len(held_out)))
    cold = torch.from_numpy(case.data.statistics.item_counts == 0)
    assert cold.any()
    before = scores(case, head, batch)
    with torch.no_grad():
        for weight in head.parameters():
            if weight.ndim and len(weight) == len(cold):
                weight[cold] = 50.0
    torch.testing.assert_close(scores(case, head, batch), before)


def test_mixed_precision_leaves_the_head_in_full_precision(case: World) -> None:
    head = case.build()
    batch = case.examples().batch(np.arange(8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = case.loss(head, batch)
    assert loss.dtype == torch.float32
    torch.manual_seed(0)
    head.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = case.loss(head, batch)
    torch.testing.assert_close(low, case.loss(head, batch))


def test_a_table_in_place_of_features_gives_the_same_batch(case: World) -> None:
    examples = case.examples(Part.TEST)
    rows = np.arange(5)
    plain, lean = examples.batch(rows), examples.with_items_encoded().batch(rows)
    assert {n: t.tolist() for n, t in plain.tensors.items() if n != "stars"} == {
        n: t.tolist() for n, t in lean.tensors.items() if n != "stars"
    }
    for name, views in lean.views.items():
        if name == "items":
            assert views.items is not None and views.chunks == []


def weighted(case: World, weights: np.ndarray) -> World:
    """The same world, whose rows have weights."""
    interactions = case.data.interactions
    table = interactions.table.add_column("weight", weights)
    return replace(case, data=replace(case.data, interactions=replace(interactions, table=table)))


def test_weights_of_one_change_nothing_to_the_bit(case: World) -> None:
    head, rows = case.build().eval(), np.arange(12)
    plain = case.examples().batch(rows)
    ones = weighted(case, np.ones(len(case.data.interactions))).examples().batch(rows)
    assert plain.weights is None and ones.weight == plain.weight == plain.count
    assert torch.equal(case.loss(head, ones), case.loss(head, plain))


def test_a_weight_multiplies_the_losses_of_the_targets_that_are_about_its_row(case: World) -> None:
    head, rows = case.build().eval(), np.arange(12)
    plain = case.examples().batch(rows)
    assert plain.events is not None and len(plain.events) == plain.count
    row = plain.events[0]
    assert case.data.interactions.part[row] == Part.TRAIN
    weights = np.ones(len(case.data.interactions))
    weights[row] = 3.0
    batch = weighted(case, weights).examples().batch(rows)
    losses = head.losses(case.encoder(plain), plain)
    more = losses[torch.from_numpy(plain.events == row)].sum()
    torch.testing.assert_close(batch.total(losses), losses.sum() + 2 * more)
    assert batch.weight == plain.count + 2 * (plain.events == row).sum()


def test_rows_of_weight_zero_have_no_gradient(case: World) -> None:
    head, rows = case.build(), np.arange(12)
    case.train(head, steps=2)
    head.zero_grad()
    examples = weighted(case, np.zeros(len(case.data.interactions))).examples()
    batch = examples.batch(rows)
    batch.total(head.losses(case.encoder(batch), batch)).backward()
    assert batch.weight == 0
    assert all(not weight.grad.any() for weight in head.parameters())


def test_evaluation_is_not_weighted(case: World) -> None:
    examples = weighted(case, np.full(len(case.data.interactions), 2.0)).examples(Part.TEST)
    assert examples.batch(np.arange(5)).weights is None

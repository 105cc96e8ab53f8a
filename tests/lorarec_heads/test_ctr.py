"""The click-through-rate head: signals it starts from, given clicks, drawn items."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from lorarec.contracts import DataError, Part, Rows
from lorarec.testing import made
from lorarec_heads.ctr import Ctr, HistorySignals

World = Any


def auc(world: World, head: Any) -> float:
    examples = world.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        scores = head.eval().score(world.encoder(batch), batch)
    assert ((scores > 0) & (scores < 1)).all()
    labels = torch.from_numpy(examples.labels())
    positive, negative = scores[labels == 1], scores[labels == 0]
    return float((positive[:, None] > negative).float().mean())


def test_it_ranks_well_before_training_and_better_after(world: Callable[..., World]) -> None:
    toy = world(made(Ctr), "click")
    head = toy.build()
    at_birth = auc(toy, head)
    toy.train(head, steps=40)
    assert at_birth > 0.75
    assert auc(toy, head) >= at_birth


def test_likes_of_like_items_raise_the_logit_and_dislikes_lower_it() -> None:
    signals = HistorySignals(4, explicit=True)
    texts = torch.tensor([[3.0, -1, -1, -1], [-1, 3.0, -1, -1]])
    candidate, history = torch.tensor([0, 0]), torch.tensor([[0, 1], [0, 1]])
    mask = torch.ones(2, 2, dtype=torch.bool)
    logits = signals(texts, candidate, history, torch.arange(2), mask, torch.tensor([[1.0, -1], [-1, 1]]))
    assert logits[0] > 0.5 and logits[1] < -0.5


def test_the_liked_share_is_the_log_odds_of_a_shrunk_share() -> None:
    signals = HistorySignals(0, explicit=True)
    mask = torch.tensor([[True, True, True, False], [False] * 4])
    liked = torch.tensor([[1.0, 1, -1, 1], [1, 1, 1, 1]])
    places = torch.zeros(2, 4, dtype=torch.int64)
    found = signals(None, places[:, 0], places, torch.arange(2), mask, liked)
    torch.testing.assert_close(found, torch.tensor([math.log(3 / 2), 0.0]))


def test_drawn_items_are_neither_had_nor_chosen_and_change_with_the_epoch(
    world: Callable[..., World],
) -> None:
    toy = world(made(Ctr, negatives=3))
    examples = toy.examples()
    rows = np.arange(80)
    drawn = {}
    for epoch in (0, 1):
        batch = examples.batch(rows, epoch)
        drawn[epoch] = batch.tensors["items"][batch.tensors["candidate"]].numpy().reshape(-1, 4)
    events = examples.events[rows][::4]
    for event, (chosen, *others) in zip(events, drawn[0], strict=True):
        assert chosen == toy.data.interactions.item[event]
        assert not {chosen, *toy.data.histories.seen(int(event))} & set(others)
        assert len(set(others)) == 3
    assert (drawn[0][:, 0] == drawn[1][:, 0]).all()
    assert (drawn[0][:, 1:] != drawn[1][:, 1:]).any()


@pytest.mark.parametrize("split", [{"by": "time", "validation": 0.2, "test": 0.4}, {"by": "random"}, {"by": "last"}])
def test_anyone_who_knows_every_choice_of_a_user_makes_no_mistake_among_drawn_items(
    world: Callable[..., World], split: dict[str, Any]
) -> None:
    toy = world(made(Ctr, negatives=4), split=split)
    events = toy.data.interactions
    chosen = set(zip(events.user.tolist(), events.item.tolist(), strict=True))
    for part in (Part.VALIDATION, Part.TEST):
        examples = toy.examples(part)
        pairs = zip(examples.users.tolist(), examples.items.tolist(), strict=True)
        known = np.array([pair in chosen for pair in pairs], np.float64)
        assert roc_auc_score(examples.labels(), known) == 1.0


def test_items_of_the_histories_that_rows_bring_are_not_drawn_for_a_held_out_row_of_the_same_user(
    world: Callable[..., World],
) -> None:
    rows = 60
    given: dict[str, list[Any]] = {
        "user": [f"u{row % 3}" for row in range(rows)],
        "item": [row % 12 for row in range(rows)],
        "history": [[12 + row % 3, (row + 1) % 12] for row in range(rows)],
        "split": ["train" if row < 30 else "validation" if row < 45 else "test" for row in range(rows)],
    }
    toy = world(made(Ctr, negatives=6), given=given, split={"by": "column"})
    examples = toy.examples(Part.TEST)
    ids = np.array([int(item) for item in toy.data.catalog.ids])
    drawn = ids[examples.items[examples.labels() == 0]]
    had: dict[str, set[int]] = {}
    for user, item, history in zip(given["user"], given["item"], given["history"], strict=True):
        had.setdefault(user, set()).update([item, *history])
    users = [str(toy.data.interactions.user_ids[user]) for user in examples.users[examples.labels() == 0]]
    assert not any(item in had[user] for item, user in zip(drawn.tolist(), users, strict=True))


def test_draws_of_training_do_not_depend_on_what_is_held_out(
    world: Callable[..., World], events: dict[str, list[Any]]
) -> None:
    drawn = []
    for shift in (0, 5):
        changed = {name: list(values) for name, values in events.items()}
        late = np.array(events["time"]) >= 1600  # the last fifth
        changed["item"] = np.where(late, (np.array(events["item"]) + shift) % 24, events["item"]).tolist()
        toy = world(made(Ctr, negatives=3), given={name: changed[name] for name in ("user", "item", "time")})
        examples = toy.examples()
        names = np.array(toy.data.catalog.ids)
        drawn.append(names[examples.head.items(examples._columns, examples.collation)].tolist())
    assert drawn[0] == drawn[1]


def test_a_user_who_had_nearly_everything_is_refused_by_row_before_anything_is_trained(
    world: Callable[..., World],
) -> None:
    toy = world(made(Ctr, negatives=20), split={"by": "last"})
    with pytest.raises(DataError, match=r"Row 19: its user has had all but \d+ of the 24 items, so 20 negatives"):
        _ = toy.examples(Part.VALIDATION).items


def test_evaluation_draws_once_and_for_all(world: Callable[..., World]) -> None:
    toy = world(made(Ctr, negatives=3))
    examples = toy.examples(Part.VALIDATION)
    batches = [examples.batch(np.arange(40), epoch).tensors for epoch in (0, 5)]
    first, second = (tensors["items"][tensors["candidate"]] for tensors in batches)
    assert torch.equal(first, second)
    assert examples.labels().mean() == 0.25


def test_baselines_and_slices_know_which_items_were_drawn(world: Callable[..., World]) -> None:
    examples = world(made(Ctr, negatives=3)).examples(Part.VALIDATION)
    batch = examples.batch(np.arange(len(examples)))
    asked = batch.tensors["items"][batch.tensors["candidate"]].numpy()
    assert (asked.reshape(-1, 4)[:, :1] != asked.reshape(-1, 4)[:, 1:]).all()
    assert (examples.items == asked).all()


def test_drawn_items_are_told_from_chosen_ones_after_training(
    world: Callable[..., World], events: dict[str, list[Any]]
) -> None:
    """Users choose items of their own parity, and the text tells parity."""
    kept = [row for row in range(len(events["user"])) if events["click"][row]]
    liked = {name: [events[name][row] for row in kept] for name in ("user", "item", "time")}
    toy = world(made(Ctr, negatives=2), given=liked)
    head = toy.build()
    toy.train(head, steps=40)
    assert auc(toy, head) > 0.6


def test_clicks_beside_drawn_items_are_refused(world: Callable[..., World]) -> None:
    toy = world(made(Ctr, negatives=2), "click")
    with pytest.raises(DataError, match=r"head\.negatives=0"):
        toy.examples()


def test_more_negatives_than_items_are_refused(world: Callable[..., World]) -> None:
    toy = world(made(Ctr, negatives=23))
    with pytest.raises(DataError, match=r"Lower head\.negatives"):
        toy.examples().batch(np.arange(200))


def test_clicks_are_needed_unless_items_are_drawn() -> None:
    assert made(Ctr).needs() == {"click"}
    assert made(Ctr, negatives=1).needs() == frozenset()
    assert made(Ctr, negatives=1).label() == "click"


@pytest.mark.parametrize(("labels", "message"), [([0.0, 1.0, 4.0], "Row 7.*4 is neither"), ([1.0] * 3, "All 3")])
def test_labels_out_of_range_are_refused_by_row(labels: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(Ctr).check_labels(np.array(labels), Rows(np.array([4, 5, 6])))


def test_a_penalty_on_biases_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="bias_penalty would do nothing with biases=False"):
        made(Ctr, bias_penalty=1.0)


def test_smoothed_labels_pull_the_loss_of_a_sure_answer_up(world: Callable[..., World]) -> None:
    plain, smooth = (world(made(Ctr, loss={"name": "bce", "label_smoothing": share}), "click") for share in (0.0, 0.2))
    batch, head = plain.examples().batch(np.arange(30)), plain.build()
    other = smooth.build()
    for each in (head, other):
        with torch.no_grad():
            each.base.fill_(9.0)
    likes = batch.tensors["labels"].fill_(1.0)
    assert likes.min() == 1 and smooth.loss(other, batch) > plain.loss(head, batch) + 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bias_penalty": 1.0}, "bias_penalty would do nothing"),
        ({"history_targets": True, "negatives": 2}, "negatives is for data without"),
        ({"history_model": "ridge"}, "history_model is a setting of head 'ctr_ridge' of the package lorarec-process"),
        ({"factors": 4}, "factors is a setting of head 'ctr_ridge'"),
        ({"item_columns": ["year"]}, "item_columns is a setting of head 'ctr_ridge'"),
    ],
)
def test_an_option_that_would_do_nothing_or_is_another_heads_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        made(Ctr, **options)


def test_the_defaults_that_an_earlier_run_wrote_out_are_accepted() -> None:
    earlier = made(Ctr, history_model="signals", factors=0, item_columns=[])
    assert earlier.config.model_dump(mode="json") == made(Ctr).config.model_dump(mode="json")


@pytest.mark.parametrize("negatives_per_positive", [1, 4])
def test_the_loss_of_equal_logits_is_that_of_guessing(negatives_per_positive: int, world: Callable[..., World]) -> None:
    toy = world(made(Ctr, loss="ranking", negatives_per_positive=negatives_per_positive), "click")
    head, batch = toy.build(), toy.examples().batch(np.arange(10))
    with torch.no_grad():
        head.signals.weight.zero_()
    assert toy.loss(head, batch).item() / batch.count == pytest.approx(np.log(1 + negatives_per_positive), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"encoding": "joint"}])
def test_no_weight_merely_shifts_all_logits_alike(options: dict[str, Any], world: Callable[..., World]) -> None:
    toy = world(made(Ctr, loss="ranking", **options), "click")
    head = toy.build()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    toy.loss(head, toy.examples().batch(np.arange(40))).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad.norm() < 1e-4] == []


@pytest.mark.parametrize(
    "options",
    [{"negatives_per_positive": 2}, {"loss": {"name": "bce", "label_smoothing": 0.1}, "negatives_per_positive": 2}],
)
def test_settings_of_the_other_loss_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="would do nothing"):
        made(Ctr, **options)


def test_more_rivals_than_are_drawn_are_refused() -> None:
    with pytest.raises(ValidationError, match="negatives_per_positive=3 would repeat the 2"):
        made(Ctr, loss="ranking", negatives_per_positive=3, negatives=2)

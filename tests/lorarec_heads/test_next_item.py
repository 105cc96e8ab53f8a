"""The next-item head: windows, losses over the catalogue, sequence encoders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from lorarec.contracts import DataError, IncompatibleError, Part
from lorarec_heads.catalogue_loss import full_softmax, sampled_softmax
from lorarec_heads.next_item import NextItem
from lorarec_heads.sequence_encoder import CausalTransformer, RunningMean

World = Any


def head_of(**options: Any) -> NextItem:
    return NextItem(NextItem.Config(**{"width": 8, **options}))


@pytest.mark.parametrize("split", [{"by": "last"}, {"by": "time"}, {"by": "random"}])
@pytest.mark.parametrize("length", [1, 3, 50])
def test_each_training_event_with_a_past_is_a_target_once(
    world: Callable[..., World], split: dict[str, str], length: int
) -> None:
    toy = world(head_of(max_history=length), split=split)
    examples, histories = toy.examples(), toy.data.histories
    found: Counter[int] = Counter()
    for event, targets in zip(examples.events, examples.table["targets"], strict=True):
        past = histories.before(int(event)).events
        found.update([*past[len(past) - targets + 1 :].tolist(), int(event)])
    train = toy.data.interactions.rows(Part.TRAIN)
    assert found == Counter(train[histories.lengths(train) > 0].tolist())
    assert examples.batch(np.arange(len(examples))).count == len(found)


def test_a_target_is_the_event_after_the_history_it_is_told_from(world: Callable[..., World]) -> None:
    toy = world(head_of(max_history=4), split={"by": "last"})
    examples = toy.examples()
    batch = examples.batch(np.arange(len(examples)))
    items = batch.tensors["items"][batch.tensors["history"]].numpy()
    for row, event in enumerate(examples.events):
        sequence = [*toy.data.histories.before(int(event), 4).items, toy.data.interactions.item[event]]
        for place in range(1, 5):
            target = int(batch.tensors["targets"][row, -place])
            if target >= 0:
                assert target == sequence[-place]
                assert items[row, -place] == sequence[-place - 1]


def test_histories_of_the_future_are_refused(world: Callable[..., World]) -> None:
    toy = world(head_of(), split={"by": "random"}, history={"scope": "training"})
    with pytest.raises(DataError, match=r"data\.history\.scope=past"):
        toy.examples()


@pytest.mark.parametrize("encoder", [CausalTransformer(8, 2, 2, 0.0, 6), RunningMean(8)])
def test_a_state_knows_nothing_of_what_comes_after(encoder: nn.Module) -> None:
    torch.manual_seed(0)
    for weight in encoder.parameters():
        nn.init.normal_(weight, std=0.5)
    events, mask = torch.randn(3, 6, 8), torch.ones(3, 6, dtype=torch.bool)
    mask[1, :3] = False
    before = encoder.eval()(events, mask)
    events[:, 4:] = torch.randn(3, 2, 8)
    after = encoder(events, mask)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("encoder", [CausalTransformer(8, 2, 2, 0.0, 6), RunningMean(8)])
def test_padding_changes_no_state(encoder: nn.Module) -> None:
    torch.manual_seed(0)
    for weight in encoder.parameters():
        nn.init.normal_(weight, std=0.5)
    events = torch.randn(1, 3, 8)
    plain = encoder.eval()(events, torch.ones(1, 3, dtype=torch.bool))
    padded = torch.cat([torch.randn(1, 3, 8), events], dim=1)
    mask = torch.tensor([[False] * 3 + [True] * 3])
    torch.testing.assert_close(encoder(padded, mask)[:, 3:], plain)


def test_all_items_drawn_is_the_full_softmax() -> None:
    torch.manual_seed(0)
    users, items, target = torch.randn(6, 4), torch.randn(9, 4), torch.randint(9, (6,))
    sampled = sampled_softmax(users, items[target], items, target, torch.arange(9), 9)
    torch.testing.assert_close(sampled, full_softmax(users, items, target))


def test_a_target_drawn_as_its_own_negative_is_left_out() -> None:
    """Only the target is drawn: nothing is left to tell it apart from, so nothing is lost."""
    users, items = torch.ones(1, 4), torch.ones(5, 4)
    loss = sampled_softmax(users, items[:1], items[2:3], torch.tensor([2]), torch.tensor([2]), 5)
    assert loss.item() == 0.0


def test_it_starts_as_popularity_and_learns_more(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    """Each user goes through the catalogue two by two: what comes next follows from the last item alone."""
    events["item"] = [(user + 2 * (row % 20)) % 23 for row, user in enumerate(events["user"])]
    toy = world(head_of(width=16), split={"by": "last"})
    head = toy.build()
    held_out = toy.examples(Part.TEST)
    batch = held_out.batch(np.arange(len(held_out)))

    def hits() -> float:
        with torch.no_grad():
            head.eval()
            users = head.user_vectors(toy.encoder(batch), batch)
            vectors = head.item_vectors(toy.vectors, torch.arange(len(toy.vectors)))
        best = (users @ vectors.T).argmax(dim=1)
        return float((best == torch.from_numpy(held_out.items)).float().mean())

    at_birth = hits()
    toy.train(head, steps=80)
    assert at_birth < 0.5 < hits()


def test_backbone_steps_need_a_backbone_that_has_them(world: Callable[..., World]) -> None:
    toy = world(head_of(encoder="backbone_steps"))
    with pytest.raises(IncompatibleError, match="sasrec"):
        toy.loss(toy.build(), toy.examples().batch(np.arange(4)))


def test_a_catalogue_of_one_item_is_refused(world: Callable[..., World]) -> None:
    statistics = world(head_of()).data.statistics
    alone = type(statistics)(np.array([3]), np.array([3]), 0.0, 0.0, 1.0, 0.5)
    with pytest.raises(DataError, match="one item"):
        head_of().build(12, alone)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "mean", "layers": 2},
        {"encoder": "backbone", "feedback": True},
        {"ids": False, "id_dropout": 0.1},
        {"negatives": 5},
        {"width": 9, "heads": 2},
    ],
)
def test_options_that_would_do_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NextItem.Config(**options)


def test_feedback_that_the_data_does_not_hold_is_refused(world: Callable[..., World]) -> None:
    with pytest.raises(DataError, match=r"head\.feedback tells what was liked, but the data has no column"):
        world(head_of(feedback=True)).examples()

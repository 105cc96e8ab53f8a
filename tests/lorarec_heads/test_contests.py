"""Losses that compare: who meets whom, and that what was liked comes to stand above what was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError

from lorarec.contracts import DataError
from lorarec.testing import made
from lorarec_heads.contests import contests, facts_of_contests
from lorarec_heads.ctr import Ctr

World = Any
FACTS = Dataset.from_dict({"event": [0, 1, 2, 3, 4, 5], "label": [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]})
OWNER = np.array([7, 7, 7, 8, 8, 9])


def test_only_facts_of_one_owner_meet_and_each_takes_part() -> None:
    found = contests(FACTS, OWNER, 1)
    met = set(zip(found["event"][:], found["rival1_event"][:], strict=True))
    assert met == {(0, 1), (0, 2), (3, 4)}  # the ninth liked everything


def test_too_few_rivals_come_again() -> None:
    found = contests(FACTS, OWNER, 3)
    assert [found[f"rival{n}_event"][:][0] for n in (1, 2, 3)] == [1, 2, 1]


def test_a_batch_lists_each_contest_with_the_liked_one_first() -> None:
    found = contests(FACTS, OWNER, 1).with_format("numpy")[:]
    flat = facts_of_contests({**found, "row": np.arange(3)}, 1)
    assert flat["label"].tolist() == [1, 0] * 3 and len(flat["row"]) == 3


def test_nobody_with_both_likes_and_dislikes_is_refused() -> None:
    with pytest.raises(DataError, match=r"head\.loss=bce"):
        contests(FACTS, np.arange(6), 1)


@pytest.mark.parametrize("rivals", [1, 4])
def test_the_loss_of_equal_logits_is_that_of_guessing(rivals: int, world: Callable[..., World]) -> None:
    toy = world(made(Ctr, loss="ranking", rivals=rivals), "click")
    head, batch = toy.build(), toy.examples().batch(np.arange(10))
    with torch.no_grad():
        head.signals.weight.zero_()
    assert toy.loss(head, batch).item() / batch.count == pytest.approx(np.log(1 + rivals), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"encoding": "joint"}, {"history_model": "ridge", "biases": True}])
def test_no_weight_merely_shifts_all_logits_alike(options: dict[str, Any], world: Callable[..., World]) -> None:
    toy = world(made(Ctr, loss="ranking", **options), "click")
    head = toy.build()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    toy.loss(head, toy.examples().batch(np.arange(40))).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad.norm() < 1e-4] == []


@pytest.mark.parametrize("options", [{"rivals": 2}, {"loss": {"name": "bce", "label_smoothing": 0.1}, "rivals": 2}])
def test_settings_of_the_other_loss_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="would do nothing"):
        made(Ctr, **options)


def test_more_rivals_than_are_drawn_are_refused() -> None:
    with pytest.raises(ValidationError, match="rivals=3 would repeat the 2"):
        made(Ctr, loss="ranking", rivals=3, negatives=2)

"""The comparison head: leads between items, learned from their texts and their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch

from lorarec.contracts import DataError, Part, Rows
from lorarec_heads.comparison import Comparison, HashedWords, hashed_text, hashed_texts

World = Any


@pytest.fixture
def pairs() -> dict[str, list[Any]]:
    """120 comparisons of an odd with an even item: the odd one, whose vector differs, is ahead."""
    generator = np.random.default_rng(2)
    rows = []
    for number in range(120):
        odd, even = 2 * int(generator.integers(0, 12)) + 1, 2 * int(generator.integers(0, 12))
        item, other, side = (odd, even, 1) if number % 3 else (even, odd, -1)
        rows.append((number // 4, item, [other], side * float(generator.uniform(0.5, 9))))
    table = {name: [row[place] for row in rows] for place, name in enumerate(("user", "item", "history", "rating"))}
    return table | {"split": [("test", "train", "train", "train")[number % 4] for number in range(120)]}


@pytest.fixture
def compared(world: Callable[..., World], pairs: dict[str, list[Any]]) -> World:
    return world(Comparison(Comparison.Config(words=64)), given=pairs, split={"by": "column", "validation": 0.0})


def leads(world: World, head: Any, candidates: list[int], others: list[list[int]]) -> torch.Tensor:
    asked = world.requests(others, [[float("nan")] * len(other) for other in others], candidates)
    batch = asked.batch(np.arange(len(candidates)))
    with torch.no_grad():
        return head.eval().score(world.encoder(batch), batch)


def test_it_learns_which_kind_of_item_is_ahead(compared: World) -> None:
    head = compared.build()
    compared.train(head, steps=40)
    examples = compared.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        found = head.score(compared.encoder(batch), batch)
    assert ((found.numpy() > 0) == (examples.labels() > 0)).all()


def test_to_swap_the_two_is_to_swap_the_sign(compared: World) -> None:
    head = compared.build()
    compared.train(head, steps=5)
    there, back = leads(compared, head, [3, 4], [[8], [3]]), leads(compared, head, [8, 3], [[3], [4]])
    torch.testing.assert_close(there, -back)
    assert there.abs().min() > 0


def test_against_several_it_is_the_mean_lead_over_them(compared: World) -> None:
    head = compared.build()
    compared.train(head, steps=5)
    alone = leads(compared, head, [3, 3], [[8], [6]])
    torch.testing.assert_close(leads(compared, head, [3], [[8, 6]])[0], alone.mean())


def test_a_lead_beyond_the_cap_is_learnt_from_as_the_cap(compared: World) -> None:
    head, batch = compared.build(), compared.examples().batch(np.arange(4))
    losses = []
    for lead in (6.0, 6000.0, 5.0):
        batch.tensors["labels"] = torch.full_like(batch.tensors["labels"], lead)
        losses.append(compared.loss(head, batch).item())
    assert losses[0] == losses[1] > losses[2]


def test_comparisons_of_one_test_are_learnt_from_together(compared: World) -> None:
    examples = compared.examples()
    assert len(examples) == 30  # users with three training rows each
    batch = examples.batch(np.arange(2))
    assert batch.count == len(batch.tensors["labels"]) == 6


def test_each_opinion_learns_as_if_the_other_were_not_there(compared: World) -> None:
    head, batch = compared.build(), compared.examples().batch(np.arange(4))
    compared.loss(head, batch).backward()
    alone = head.direction.weight.grad.clone()
    with torch.no_grad():
        head.words.weights.normal_()
    head.zero_grad()
    compared.loss(head, batch).backward()
    torch.testing.assert_close(head.direction.weight.grad, alone)
    assert alone.abs().sum() > 0


def test_the_answer_is_two_parts_encoder_and_one_part_words(compared: World) -> None:
    head = compared.build()
    compared.train(head, steps=5)
    both, direction = leads(compared, head, [3], [[8]]), head.direction.weight.clone()
    with torch.no_grad():
        head.direction.weight.zero_()
        words = 3 * leads(compared, head, [3], [[8]])
        head.direction.weight.copy_(direction)
        head.words.weights.zero_()
        text = 1.5 * leads(compared, head, [3], [[8]])
    assert abs(words.item()) > 0.01 and abs(text.item()) > 0.01
    torch.testing.assert_close(both, (2 * text + words) / 3)


def test_words_alone_carry_over_to_texts_never_seen() -> None:
    torch.manual_seed(0)
    words = HashedWords(1024)
    optimizer = torch.optim.Adam(words.parameters(), lr=0.1)
    texts = [f"{'you' if number % 2 else 'they'} and thing{number}" for number in range(20)]
    wanted = torch.tensor([1.0 if number % 2 else -1.0 for number in range(20)])
    for _ in range(30):
        optimizer.zero_grad()
        (words(*hashed_texts(texts, 1024)) - wanted).square().sum().backward()
        optimizer.step()
    found = words(*hashed_texts(["You, at last!", "they went home"], 1024))
    assert found[0] > 0.3 and found[1] < -0.3


def test_a_text_is_the_sum_of_its_words_over_the_root_of_their_number() -> None:
    words = HashedWords(1000)
    with torch.no_grad():
        words.weights[:, 0] = torch.arange(1000.0)
    found = words(*hashed_texts(["a B, b", "", "a"], 1000))
    a, b, comma = (crc32(word) % 1000 for word in (b"a", b"b", b","))
    torch.testing.assert_close(found, torch.tensor([(a + b + comma) / 3**0.5, 0.0, float(a)]))


def test_buckets_are_the_same_in_every_process() -> None:
    assert hashed_text("a", 1000).tolist() == [907]  # CRC-32 of "a" is 3904355907


def test_without_words_there_are_no_weights_for_them(world: Callable[..., World], pairs: dict[str, list[Any]]) -> None:
    plain = world(Comparison(Comparison.Config(words=0)), given=pairs, split={"by": "column", "validation": 0.0})
    assert [name for name, _ in plain.build().named_parameters()] == ["direction.weight"]
    assert "buckets" not in plain.examples().batch(np.arange(2)).tensors


@pytest.mark.parametrize("labels", [[1.0, 5.0, 3.0], [0.0, -2.0, -1.0], [0.0, 0.0, 0.0]])
def test_labels_that_are_no_leads_are_refused(labels: list[float]) -> None:
    task = Comparison(Comparison.Config())
    with pytest.raises(DataError, match=r"Row 1, 'rating': .* all 3 are from .* For stars use head 'rating'"):
        task.check_labels(np.array(labels), Rows())
    task.check_labels(np.array([1.0, -2.0, 3.0]), Rows())

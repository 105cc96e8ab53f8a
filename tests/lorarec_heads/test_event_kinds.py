"""Heads on events of several kinds: what they aim at, and what they read as liked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lorarec.contracts import DataError, Part, TaskHead
from lorarec.testing import made
from lorarec_heads.ctr import Ctr
from lorarec_heads.next_item.task import NextItem
from lorarec_heads.rating import Rating

World = Any
KINDS = {"positive": ["click"], "negative": ["dislike"], "shown": ["view"]}


@pytest.fixture
def kinds(events: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The events, a third of them each clicked, disliked and shown."""
    drawn = np.random.default_rng(0).choice(["click", "dislike", "view"], len(events["user"]))
    return {name: events[name] for name in ("user", "item", "time")} | {"event": drawn.tolist()}


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("encoder", ["transformer", "backbone_steps"])
@pytest.mark.parametrize("split", [{"by": "last"}, {"by": "time"}, {"by": "random"}])
def test_what_comes_next_is_never_a_dislike_nor_what_was_merely_shown(
    world: Callable[..., World],
    kinds: dict[str, list[Any]],
    split: dict[str, str],
    encoder: str,
    feedback: bool,
) -> None:
    if feedback and encoder != "transformer":
        return
    head = made(NextItem, width=8, max_history=6, encoder=encoder, feedback=feedback)
    toy = world(head, given=kinds, events=KINDS, split=split)
    kind, reads = np.array(kinds["event"]), feedback or encoder == "backbone_steps"
    for part in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        examples = toy.examples(part)
        assert set(kind[examples.events]) == {"click"}
        for event, targets in zip(examples.events, examples.table["targets"], strict=True):
            past = toy.data.histories.before(int(event)).events
            assert set(kind[past[len(past) - targets + 1 :]]) <= {"click"}, "targets are the last events of a window"
            assert set(kind[past]) <= ({"click", "dislike"} if reads else {"click"})
    train = toy.data.interactions.rows(Part.TRAIN)
    aimed = int(np.sum(toy.examples().table["targets"]))
    assert aimed == (toy.data.histories.lengths(train) > 0).sum(), "each like with a past is a target once"


def test_a_disliked_event_is_read_as_disliked(world: Callable[..., World], kinds: dict[str, list[Any]]) -> None:
    head = made(NextItem, width=8, max_history=6, feedback=True)
    examples = world(head, given=kinds, events=KINDS, split={"by": "last"}).examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    for row, event in enumerate(examples.events):
        past = examples.collation.histories.before(int(event), 6).events
        feedback = batch.tensors["feedback"][row][batch.tensors["mask"][row]].tolist()
        assert feedback == [2 if kinds["event"][e] == "click" else 0 for e in past]


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_shown_and_disliked_items_are_the_zeros_of_clicks(
    world: Callable[..., World], kinds: dict[str, list[Any]], encoding: str
) -> None:
    toy = world(made(Ctr, encoding=encoding), given=kinds, events=KINDS, split={"by": "last"})
    kind = np.array(kinds["event"])
    for part in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        examples = toy.examples(part)
        assert examples.labels().tolist() == (kind[examples.events] == "click").tolist()
    assert set(kind[toy.examples().events]) == {"click", "dislike", "view"}
    batch = toy.examples().batch(np.arange(64))
    liked = batch.tensors["liked"][batch.tensors["mask"]]
    assert set(liked.tolist()) == {1.0, -1.0}
    head = toy.build()
    before, *_, after = toy.train(head, 30)
    assert after < before


def test_beside_drawn_items_only_what_was_liked_counts(
    world: Callable[..., World], kinds: dict[str, list[Any]]
) -> None:
    toy = world(made(Ctr, negatives=2), given=kinds, events=KINDS, split={"by": "last"})
    examples, kind = toy.examples(), np.array(kinds["event"])
    assert set(kind[examples.events]) == {"click"}
    drawn = np.asarray(examples.table["negative_index"])
    for row in np.flatnonzero(drawn > 0)[:200].tolist():
        event = int(examples.events[row])
        seen = toy.data.histories.seen(event)
        assert examples.items[row] not in seen, "no negative that the user had, disliked ones among them"
        assert set(kind[toy.data.histories.before(event).events]) <= {"click"}


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (made(Rating), "says itself what was liked"),
        (made(NextItem, width=8, feedback=True), r"data\.events\.negative"),
    ],
)
def test_a_task_that_kinds_say_nothing_to_is_refused(
    world: Callable[..., World], kinds: dict[str, list[Any]], head: TaskHead, said: str
) -> None:
    positive = {"positive": ["click", "dislike"], "shown": ["view"]}
    with pytest.raises(DataError, match=said):
        world(head, given=kinds | {"rating": [1.0] * len(kinds["user"])}, events=positive).examples()


@pytest.mark.parametrize("kind", ["dislike", "view"])
def test_a_weight_of_what_only_loses_contests_is_refused(
    world: Callable[..., World], kinds: dict[str, list[Any]], kind: str
) -> None:
    head = made(Ctr, loss="ranking")
    weighted = world(head, given=kinds, events=KINDS | {"weights": {"click": 3}}, split={"by": "last"})
    assert weighted.examples().batch(np.arange(4)).weights.tolist() == [3.0] * 4  # type: ignore[union-attr]
    with pytest.raises(DataError, match=rf"data\.events\.weights\.{kind}=0\.5 does nothing here"):
        world(head, given=kinds, events=KINDS | {"weights": {kind: 0.5}}, split={"by": "last"}).examples()

"""Histories: only events strictly before, checked against a plain loop on random data with ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lorarec.data.interactions import Interactions, Part
from lorarec.data.prepare import PreparedData
from lorarec.data.requests import Requests
from lorarec.errors import DataError

Prepared = Callable[..., PreparedData]
Events = Callable[[int], dict[str, list[Any]]]

SPLITS: list[dict[str, Any]] = [
    {"by": "time"},
    {"by": "last"},
    {"by": "random"},
    {"by": "column", "column": "u1_test"},
]


def earlier(data: Interactions, event: int) -> list[int]:
    """The user's events before this one, by a plain loop."""
    moments = data.time if data.time is not None else np.zeros(len(data))
    own = [e for e in range(len(data)) if data.user[e] == data.user[event]]
    before = [e for e in own if (moments[e], e) < (moments[event], event)]
    return sorted(before, key=lambda e: (moments[e], e))


def others(data: Interactions, event: int) -> list[int]:
    """The user's other training events."""
    moments = data.time if data.time is not None else np.zeros(len(data))
    own = [e for e in range(len(data)) if data.user[e] == data.user[event] and e != event]
    return sorted((e for e in own if data.part[e] == Part.TRAIN), key=lambda e: (moments[e], e))


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("split", SPLITS, ids=lambda split: str(split["by"]))
@pytest.mark.parametrize("seed", range(3))
def test_no_history_holds_anything_but_visible_earlier_events(
    random_events: Events, prepared: Prepared, split: dict[str, Any], seed: int, timed: bool
) -> None:
    events = random_events(seed)
    if not timed:
        del events["time"]
        if split["by"] == "time":
            return
    made = prepared(events, split=split)
    data, respects_time = made.interactions, split["by"] in ("time", "last")
    lengths = made.histories.lengths(np.arange(len(data)))
    for event in range(len(data)):
        expected = earlier(data, event)
        if not respects_time:
            expected = [e for e in expected if data.part[e] == Part.TRAIN]
        history = made.histories.before(event)
        assert history.events.tolist() == expected
        assert history.items.tolist() == data.item[expected].tolist()
        assert history.feedback.tolist() == data.column("rating")[expected].tolist()
        assert lengths[event] == len(expected)
        assert made.histories.before(event, 3).events.tolist() == expected[-3:]
        seen = expected if respects_time else others(data, event)
        assert made.histories.seen(event).tolist() == data.item[seen].tolist()
    drawn = np.random.default_rng(seed).integers(0, len(made.catalog), len(data))
    for items in (drawn, data.item):
        have_seen = made.histories.have_seen(np.arange(len(data)), items)
        assert have_seen.tolist() == [items[event] in made.histories.seen(event) for event in range(len(data))]


@pytest.mark.parametrize("split", SPLITS[2:], ids=lambda split: str(split["by"]))
def test_scope_training_is_all_other_training_events(
    random_events: Events, prepared: Prepared, split: dict[str, Any]
) -> None:
    made = prepared(random_events(4), split=split, history={"scope": "training"})
    lengths = made.histories.lengths(np.arange(300))
    for event in range(300):
        expected = others(made.interactions, event)
        assert made.histories.before(event).events.tolist() == expected
        assert made.histories.before(event, 2).events.tolist() == expected[-2:]
        assert made.histories.seen(event).tolist() == made.interactions.item[expected].tolist()
        assert lengths[event] == len(expected)


SCOPES = [(split, "past") for split in SPLITS] + [(split, "training") for split in SPLITS[2:]]


@pytest.mark.parametrize(("split", "scope"), SCOPES, ids=lambda value: str(value))
def test_padded_histories_equal_single_ones(
    random_events: Events, prepared: Prepared, split: dict[str, Any], scope: str
) -> None:
    histories = prepared(random_events(4), split=split, history={"scope": scope}).histories
    events = np.random.default_rng(0).integers(0, 300, 200)
    for limit in (1, 4, 1000):
        padded, mask = histories.latest(events, limit)
        single = [histories.before(int(event), limit) for event in events]
        assert mask.shape[1] == max(len(history.items) for history in single)
        for array, column, blank in zip(padded, zip(*single, strict=True), (0, np.nan, -1), strict=True):
            for row, values in enumerate(column):
                assert array[row, mask[row]].tolist() == values.tolist()
                assert (mask[row] == (np.arange(mask.shape[1]) >= mask.shape[1] - len(values))).all()
            assert np.array_equal(np.unique(array[~mask]), np.unique([blank] if (~mask).any() else []), equal_nan=True)


def test_empty_histories_are_padded_to_one_column(prepared: Prepared) -> None:
    events = {"item": [1, 2, 3], "history": [[], [], []], "split": ["train", "valid", "test"]}
    (items, feedback, _), mask = prepared(events, split={"by": "column"}).histories.latest(np.arange(3), 5)
    assert items.tolist() == [[0]] * 3 and np.isnan(feedback).all() and not mask.any()


@pytest.mark.parametrize(("split", "scope"), SCOPES, ids=lambda value: str(value))
def test_distinct_histories_are_grouped(
    random_events: Events, prepared: Prepared, split: dict[str, Any], scope: str
) -> None:
    histories = prepared(random_events(4), split=split, history={"scope": scope}).histories
    events = np.random.default_rng(1).integers(0, 300, 200)
    distinct, index = histories.distinct(events)
    for event, first_event in zip(events, distinct[index], strict=True):
        assert histories.before(int(event)).events.tolist() == histories.before(int(first_event)).events.tolist()
    long = [event for event in distinct if histories.lengths(np.array([event]))[0]]
    seen = {tuple(histories.before(int(event)).events) for event in long}
    assert len(seen) == len(long)
    first = [int(np.flatnonzero(index == row)[0]) for row in range(len(distinct))]
    assert first == sorted(first), "in the order given: distinct histories keep their rows"


def test_histories_of_rows_are_those_of_their_events(random_events: Events, prepared: Prepared) -> None:
    for scope in ("past", "training"):
        histories = prepared(random_events(4), split={"by": "random"}, history={"scope": scope}).histories
        events = np.array([7, 7, 120, 3])
        rows = histories.of_rows(events)
        for row, event in enumerate(events.tolist()):
            assert rows.before(row).events.tolist() == histories.before(event).events.tolist()
            assert rows.seen(row).tolist() == histories.seen(event).tolist()
        assert rows.liked_above == histories.liked_above


@pytest.mark.parametrize("by", ["time", "last"])
def test_scope_training_is_refused_where_it_would_leak(random_events: Events, prepared: Prepared, by: str) -> None:
    with pytest.raises(DataError, match=r"data\.history\.scope=training .* data\.split\.by=" + by):
        prepared(random_events(0), split={"by": by}, history={"scope": "training"})


OWN: dict[str, list[Any]] = {
    "item": [1, 2, 3],
    "history": [[2, 3], [], [1]],
    "history_feedback": [[5, None], [], [1]],
    "split": ["train", "valid", "test"],
}


def test_rows_with_their_own_history_keep_it(prepared: Prepared) -> None:
    made = prepared(OWN, split={"by": "column"})
    history = made.histories.before(0)
    assert history.items.tolist() == [1, 2]
    assert history.events.tolist() == [-1, -1]
    assert np.isnan(history.feedback[1])
    assert made.histories.liked(history.feedback) == (1, -1)
    assert made.histories.before(0, 1).items.tolist() == [2]
    assert made.histories.before(0, 0).items.tolist() == []
    assert made.histories.lengths(np.arange(3)).tolist() == [2, 0, 1]
    assert made.histories.seen(2).tolist() == [0]


def test_scope_training_is_refused_where_it_would_do_nothing(prepared: Prepared) -> None:
    with pytest.raises(DataError, match="does nothing here"):
        prepared(OWN, split={"by": "column"}, history={"scope": "training"})


def test_liked_is_feedback_above_the_threshold(prepared: Prepared) -> None:
    events = {"user": [1] * 4, "item": [1, 2, 3, 4], "rating": [1, 3, 5, 4]}
    histories = prepared(events, split={"by": "last"}, liked_above=3, reads_feedback=True).histories
    assert histories.liked(histories.before(3).feedback) == (0, 0, 1)


def test_without_feedback_likes_are_unknown(prepared: Prepared) -> None:
    histories = prepared({"user": [1] * 3, "item": [1, 2, 3]}, split={"by": "last"}).histories
    assert histories.liked(histories.before(2).feedback) == (-1, -1)


def test_requests_have_the_histories_of_their_callers() -> None:
    asked = Requests.of([[4, 5], []], [[1.0, 0.0], []], [7, 8], 0.5)
    assert asked.events.part.tolist() == [Part.UNUSED, Part.UNUSED], "they are in no part"
    assert (asked.events.item.tolist(), asked.events.user.tolist()) == ([7, 8], [-1, -1])
    assert asked.histories.before(0).items.tolist() == [4, 5]
    assert asked.histories.liked(asked.histories.before(0).feedback) == (1, 0)
    assert asked.histories.before(1).items.tolist() == []


def test_requests_may_have_histories_only() -> None:
    asked = Requests.of([[4]], None, None, 0.5)
    assert asked.events.item.tolist() == [-1]
    assert np.isnan(asked.histories.before(0).feedback).all()


def test_a_request_may_be_repeated_with_other_items() -> None:
    asked = Requests.of([[4, 5], [6]], None, None, 0.5)
    pairs = asked.about(np.array([0, 1, 0]), np.array([7, 8, 9]))
    assert pairs.events.item.tolist() == [7, 8, 9]
    assert [items.tolist() for items in pairs.history_items()] == [[4, 5], [6], [4, 5]]
    assert [items.tolist() for items in pairs.between(1, 9).history_items()] == [[6], [4, 5]]


def test_requests_whose_lengths_differ_are_refused() -> None:
    with pytest.raises(DataError, match="2 histories, but 1 items"):
        Requests.of([[1], [2]], None, [1], 0.5)
    with pytest.raises(DataError, match="row 2, 'feedback': 0 numbers for a history of 1"):
        Requests.of([[1], [2]], [[1.0], []], None, 0.5)

"""Splits: no training event is later than held-out ones; ties are stable; empty parts are refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lorarec.config.recipe import SplitSection
from lorarec.data.interactions import Part
from lorarec.data.prepare import PreparedData
from lorarec.errors import DataError

Prepared = Callable[..., PreparedData]
Events = Callable[[int], dict[str, list[Any]]]


def parts(data: PreparedData) -> list[int]:
    return data.interactions.part.tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.3, 0.2), (0.0, 0.2), (0.2, 0.0)])
def test_by_time_all_held_out_events_are_later_than_all_training_events(
    random_events: Events, prepared: Prepared, seed: int, validation: float, test: float
) -> None:
    data = prepared(random_events(seed), split={"by": "time", "validation": validation, "test": test}).interactions
    assert data.time is not None
    groups = [data.time[data.part == p] for p in (Part.TRAIN, Part.VALIDATION, Part.TEST)]
    kept = [group for group in groups if len(group)]
    assert len(kept) == 1 + (validation > 0) + (test > 0)
    assert all(early.max() < late.min() for early, late in pairwise(kept))
    assert sum(map(len, groups)) == 300


def test_by_time_events_tied_at_a_cut_stay_in_the_earlier_part(prepared: Prepared) -> None:
    events = {"user": [1] * 10, "item": [0, 1] * 5, "time": [1, 2, 3, 4, 5, 5, 5, 6, 7, 8]}
    data = prepared(events, split={"by": "time", "validation": 0.2, "test": 0.2})
    assert parts(data) == [0] * 7 + [1] + [2, 2]


def test_last_out_holds_out_the_last_event_with_ties_in_table_order(prepared: Prepared) -> None:
    events = {"user": [1, 2, 1, 1, 1, 2], "item": [1, 2, 3, 4, 5, 1], "time": [5, 1, 9, 9, 1, 2]}
    data = prepared(events, split={"by": "last"})
    assert parts(data) == [0, 0, 1, 2, 0, 0]
    assert data.report.users_only_in_training == 1


def test_last_out_goes_by_table_order_without_times(prepared: Prepared) -> None:
    assert parts(prepared({"user": [1] * 4, "item": [1, 2, 3, 4]}, split={"by": "last"})) == [0, 0, 1, 2]


def test_last_out_of_some_users_leaves_the_last_events_of_the_others_out(prepared: Prepared) -> None:
    events = {"user": [1] * 4 + [2] * 4 + [3] * 2, "item": [1, 2, 3, 4] * 2 + [1, 2], "asked": [True] * 4 + [False] * 6}
    data = prepared(events, split={"by": "last", "users": "asked"})
    assert parts(data) == [0, 0, 1, 2, 0, 0, -1, -1, 0, 0]
    assert data.report.dropped == {"left out by data.split.users": 2}
    assert data.statistics.item_counts.sum() == 6


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([True, True, True, False], r"column 'asked', row 4: false, but true in another row of the same user"),
        ([1, 1, 1, 1], "needs true or false in every row"),
        ([True, None, True, True], "needs true or false in every row"),
        ([False] * 4, "the validation part of the split is empty"),
    ],
)
def test_the_column_of_evaluated_users_must_be_true_or_false_for_each_user(
    prepared: Prepared, asked: list[Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepared({"user": [1] * 4, "item": [1, 2, 3, 4], "asked": asked}, split={"by": "last", "users": "asked"})


def test_a_column_of_evaluated_users_is_refused_with_other_splits() -> None:
    with pytest.raises(ValidationError, match=r"'users: asked' does nothing with 'by: time'"):
        SplitSection(by="time", users="asked")


def test_a_random_split_follows_the_seed(random_events: Events, prepared: Prepared) -> None:
    split = {"by": "random", "validation": 0.2, "test": 0.1}
    first, again = (prepared(random_events(0), split=split) for _ in range(2))
    other = prepared(random_events(0), split=split, seed=14)
    assert parts(first) == parts(again) != parts(other)
    assert first.report.parts == {"train": 210, "validation": 60, "test": 30}


def test_a_column_names_the_parts_in_any_spelling(prepared: Prepared) -> None:
    events = {
        "user": [1] * 6,
        "item": [1, 2] * 3,
        "split": ["Train", "val", "TEST", "dev", "valid", "validation"],
    }
    assert parts(prepared(events, split={"by": "column"})) == [0, 1, 2, 1, 1, 1]


def test_a_boolean_column_marks_the_test_rows_and_validation_is_drawn_from_the_rest(
    random_events: Events, prepared: Prepared
) -> None:
    events = random_events(1)
    data = prepared(events, split={"by": "column", "column": "u1_test", "validation": 0.25}).interactions
    assert ((data.part == Part.TEST) == np.array(events["u1_test"])).all()
    rest = 300 - sum(events["u1_test"])
    assert (data.part == Part.VALIDATION).sum() == round(rest * 0.25)


def test_a_validation_share_of_zero_gives_an_empty_validation_part(random_events: Events, prepared: Prepared) -> None:
    for split in ({"by": "random"}, {"by": "time"}, {"by": "column", "column": "u1_test"}):
        assert prepared(random_events(1), split={**split, "validation": 0}).report.parts["validation"] == 0


TWO = {"user": [1, 1], "item": [1, 2]}


@pytest.mark.parametrize(
    ("events", "split", "said"),
    [
        (TWO, {"by": "time"}, ["events.csv", "no column 'time'", "data.split.by=last"]),
        ({**TWO, "time": [1, 1]}, {"by": "time", "test": 0.5}, ["validation part", "equal time"]),
        (TWO, {"by": "last"}, ["events.csv", "validation part", "no user has three events"]),
        (TWO, {"by": "random"}, ["events.csv", "part of the split is empty", "too few rows"]),
        (TWO, {"by": "random", "test": 0.5, "validation": 0.5}, ["leave no rows to train on"]),
        (TWO, {"by": "column"}, ["events.csv", "no column 'split'", "Columns: user, item"]),
        ({**TWO, "split": ["train", "tset"]}, {"by": "column"}, ["'split', row 2", "'tset'", "mean 'test'"]),
        ({**TWO, "split": ["train", None]}, {"by": "column"}, ["'split', row 2", "missing"]),
        ({**TWO, "split": ["train", "valid"]}, {"by": "column"}, ["test part", "column 'split'"]),
        ({**TWO, "split": ["test", "valid"]}, {"by": "column"}, ["train part", "column 'split'"]),
        (
            {"user": [1] * 3, "item": [1, 2, 3], "split": ["train", "valid", "test"]},
            {"by": "column", "validation": 0.3}, ["'split' names validation rows itself", "0.3 does nothing"],
        ),
        ({**TWO, "fold": [1, 2]}, {"by": "column", "column": "fold"}, ["'fold', row 1", "1 is not a part"]),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be_made_is_refused(
    prepared: Prepared, events: dict[str, list[Any]], split: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        prepared(events, split=split)
    assert all(words in str(caught.value) for words in said), caught.value


def test_train_rows_are_drawn_by_the_seed_and_held_out_rows_stay(random_events: Events, prepared: Prepared) -> None:
    split = {"by": "time", "validation": 0.2, "test": 0.1, "train_rows": 16}
    first, again = (prepared(random_events(0), split=split) for _ in range(2))
    other, whole = (
        prepared(random_events(0), split=split, seed=14),
        prepared(random_events(0), split=split | {"train_rows": None}),
    )
    assert parts(first) == parts(again) != parts(other)
    assert first.report.parts == whole.report.parts | {"train": 16}
    assert first.report.dropped == {"left out by data.split.train_rows": whole.report.parts["train"] - 16}
    assert first.statistics.item_counts.sum() == 16
    for part in (Part.VALIDATION, Part.TEST):
        assert (first.interactions.rows(part) == whole.interactions.rows(part)).all()


def test_more_training_rows_than_there_are_are_refused(random_events: Events, prepared: Prepared) -> None:
    with pytest.raises(DataError, match="train_rows=999, but there are"):
        prepared(random_events(0), split={"by": "random", "train_rows": 999})

"""Preparation as a whole: statistics, report, required columns, histories that are too short."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection
from lorarec.data.interactions import Part
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables
from lorarec.data.statistics import Statistics
from lorarec.errors import DataError

Prepared = Callable[..., PreparedData]
Events = Callable[[int], dict[str, list[Any]]]

# Two users; the third is new in the test part, and so is item 9.
EVENTS: dict[str, list[Any]] = {
    "user": ["a", "a", "a", "b", "b", "c"],
    "item": [1, 2, 1, 2, 1, 9],
    "time": [1, 2, 3, 4, 5, 6],
    "rating": [1, 5, 2, 4, 3, 3],
    "split": ["train", "train", "train", "train", "valid", "test"],
}
COLUMN = {"by": "column"}


def test_statistics_count_training_rows_only(prepared: Prepared) -> None:
    statistics = prepared(EVENTS, label="rating", split=COLUMN).statistics
    assert statistics.item_counts.tolist() == [2, 2, 0]
    assert statistics.user_counts.tolist() == [3, 1, 0]
    assert (statistics.label_mean, statistics.label_min, statistics.label_max) == (3.0, 1.0, 5.0)
    assert statistics.liked_above == 3.0


def test_statistics_hold_the_training_rows_and_all_their_distinct_labels(prepared: Prepared) -> None:
    statistics = prepared(EVENTS, label="rating", split=COLUMN).statistics
    assert statistics.events is not None
    events = statistics.events
    columns = (events.rows, events.user, events.item, events.label, events.weight)
    rows, users, items, labels, weights = (column.tolist() for column in columns)
    assert (rows, users, items, labels) == ([0, 1, 2, 3], [0, 0, 0, 1], [0, 1, 0, 1], [1, 5, 2, 4])
    assert weights == [1, 1, 1, 1]
    weighted = prepared(
        EVENTS | {"w": [1, 0, 3, 2, 9, 9][: len(EVENTS["user"])]}, columns={"weight": "w"}, split=COLUMN
    )
    assert weighted.statistics.events is not None and weighted.statistics.events.weight.tolist() == [1, 0, 3, 2]
    assert statistics.label_levels == [1, 2, 4, 5]


def test_labels_of_more_values_than_one_can_list_are_not_listed(prepared: Prepared) -> None:
    count = 2 * Statistics.MOST_VALUES
    events = {"user": ["a"] * (count + 1), "item": list(range(count + 1)), "rating": [float(n) for n in range(count)]}
    events["rating"].append(0.0)
    events["split"] = ["train"] * count + ["test"]
    assert prepared(events, label="rating", split=COLUMN).statistics.label_levels == ()


def test_without_a_label_statistics_range_from_zero_to_one(prepared: Prepared) -> None:
    statistics = prepared(EVENTS, split=COLUMN).statistics
    assert (statistics.label_mean, statistics.label_min, statistics.label_max) == (0.0, 0.0, 1.0)
    assert statistics.liked_above == 3.0


def test_liked_is_measured_in_the_unit_of_the_feedback_not_of_the_label(prepared: Prepared) -> None:
    events = {**EVENTS, "click": [0, 1, 0, 1, 0, 0]}
    assert prepared(events, label="click", split=COLUMN).statistics.liked_above == 3.0


def test_constant_feedback_counts_as_liked(prepared: Prepared) -> None:
    made = prepared({**EVENTS, "rating": [1] * 6}, split=COLUMN)
    assert made.histories.liked(made.histories.before(1).feedback) == (1,)


def test_the_recipe_may_set_liked_above(prepared: Prepared) -> None:
    assert prepared(EVENTS, label="rating", split=COLUMN, liked_above=4).histories.liked_above == 4.0


def test_liked_above_is_refused_where_there_is_no_feedback_or_nothing_reads_it(prepared: Prepared) -> None:
    unrated = {name: column for name, column in EVENTS.items() if name != "rating"}
    with pytest.raises(DataError, match=r"data\.liked_above=3 does nothing here"):
        prepared(unrated, split=COLUMN, liked_above=3)
    with pytest.raises(DataError, match="does nothing here: with these settings the head does not distinguish"):
        prepared(EVENTS, split=COLUMN, liked_above=3)


def test_rows_with_their_own_histories_are_counted_by_candidate(prepared: Prepared) -> None:
    events = {
        "item": [1, 2, 3], "history": [[2, 2], [1], [1]], "history_feedback": [[0, 4], [1], [1]],
        "click": [1, 0, 1], "split": ["train", "valid", "test"],
    }  # fmt: skip
    statistics = prepared(events, label="click", split=COLUMN).statistics
    assert statistics.item_counts.tolist() == [1, 0, 0]
    assert statistics.liked_above == 2.0


def test_the_report_counts_rows_users_and_items(prepared: Prepared) -> None:
    report = prepared(EVENTS, {"item": [1, 2], "title": ["One", ""]}, split=COLUMN).report
    assert report.parts == {"train": 4, "validation": 1, "test": 1}
    assert (report.rows, report.users, report.items) == (6, 3, 3)
    assert report.density == pytest.approx(5 / 9)
    assert (report.first_time, report.last_time) == (1.0, 6.0)
    assert report.cold_users == {"validation": 0.0, "test": 1.0}
    assert report.cold_items == {"validation": 0.0, "test": 1.0}
    assert (report.items_without_text, report.empty_texts, report.users_only_in_training) == (1, 1, 1)
    assert (report.history_min, report.history_median, report.history_max) == (0, 0.5, 2)
    assert json.loads(json.dumps(report.to_dict()))["dropped"] == {}


def test_the_report_reads_as_sentences(prepared: Prepared) -> None:
    report = prepared(EVENTS, {"item": [1, 2], "title": ["One", ""]}, split=COLUMN, history={"at_least": 0}).report
    lines = "\n".join(report.lines())
    assert "events.csv: 6 rows of 3 users and 3 items (density 55.56%)" in lines
    assert "split by column: train 4, validation 1, test 1" in lines
    assert "test: 100.0% of rows have a new user, 100.0% a new item" in lines
    assert "1 item is not in the item table" in lines
    assert "1 item has an empty text" in lines


def test_the_report_separates_items_with_events_from_the_catalog_and_states_the_labels(prepared: Prepared) -> None:
    rows = EVENTS | {"click": [1, 0, 0, 1, 0, 0]}
    report = prepared(rows, {"item": [1, 2, 8, 9], "title": list("abcd")}, split=COLUMN).report
    lines = "\n".join(report.lines())
    assert "6 rows of 3 users and 3 items (density 55.56%); the catalog has 4 items" in lines
    assert "rating from 1 to 5, 5 different values, mean 3" in lines
    assert "click: 33.33% of rows are 1" in lines
    assert report.labels["click"] == {"min": 0, "max": 1, "mean": pytest.approx(1 / 3), "distinct": 2}
    many = {"user": ["a", "b"] * 100, "item": [1, 2] * 100, "rating": [n / 7 for n in range(200)]}
    assert "rating from 0 to 28.4286, more than 100 values" in "\n".join(
        prepared(many, split={"by": "random"}).report.lines()
    )
    few = prepared(rows, split=COLUMN | {"train_rows": 2})
    used = few.interactions.column("click")[few.interactions.part != Part.UNUSED]
    assert few.report.labels["click"]["mean"] == used.mean() and len(used) == 4


def test_the_column_that_is_read_as_text_without_a_title_is_named(prepared: Prepared) -> None:
    items = {"item": [1, 2, 3], "year": [1, 2, 3], "category": ["x", "x", "y"], "name": ["A", "B", "C"]}
    report = prepared(EVENTS, items, split=COLUMN).report
    assert any("the texts and titles of items are the column 'category', the first one" in n for n in report.detected)
    named = prepared(EVENTS, items, split=COLUMN, item_text="{name}").report
    assert not any("texts and titles" in note for note in named.detected)


def test_rows_with_a_short_history_are_left_out_counted_and_still_in_histories(prepared: Prepared) -> None:
    events = {"user": [1] * 5, "item": [1, 2, 3, 4, 5], "time": [1, 2, 3, 4, 5]}
    made = prepared(events, split={"by": "last"}, history={"at_least": 2})
    assert made.interactions.part.tolist() == [
        Part.UNUSED,
        Part.UNUSED,
        Part.TRAIN,
        Part.VALIDATION,
        Part.TEST,
    ]
    assert made.report.dropped == {"history shorter than 2": 2}
    assert "2 rows are left out: history shorter than 2" in made.report.lines()
    assert made.report.parts == {"train": 1, "validation": 1, "test": 1}
    assert made.histories.before(2).events.tolist() == [0, 1]
    assert made.statistics.item_counts.sum() == 3
    assert made.report.history_min == 2


def test_a_history_longer_than_any_is_refused(prepared: Prepared) -> None:
    with pytest.raises(DataError, match=r"events\.csv: no row of the train part has a history of 3 .*at_least"):
        prepared({"user": [1] * 4, "item": [1, 2, 3, 4]}, split={"by": "last"}, history={"at_least": 3})


def test_a_missing_column_that_the_task_needs_is_named(prepared: Prepared) -> None:
    with pytest.raises(DataError) as caught:
        prepared({"user": [1, 1], "item": [1, 2], "ratings": [1, 2]}, needs=frozenset({"rating"}))
    message = str(caught.value)
    assert message.startswith(
        "events.csv: no column 'rating'; the task needs it. Say which one it is: data.columns.rating"
    )
    assert "Did you mean 'ratings'?" in message


def test_the_recipes_columns_and_text_override_the_sources() -> None:
    events = Dataset.from_dict({**EVENTS, "stars": [5, 4, 3, 2, 1, 5]})
    items = Dataset.from_dict({"item": [1, 2], "title": ["One", "Two"], "plot": ["first", "second"]})
    section = DataSection(source="files", columns={"rating": "stars"}, item_text="{plot}", split=COLUMN)
    raw = RawTables(events, items, columns={"rating": "rating"}, item_text="{title}", origin="events.csv")
    made = prepare(raw, Wanted(label="rating", needs=frozenset({"rating"})), section, 13)
    assert made.interactions.column("rating").tolist() == [5.0, 4.0, 3.0, 2.0, 1.0, 5.0]
    assert made.catalog.texts([0]) == ["first"]


FINGERPRINT = """
from datasets import Dataset
from lorarec.config.recipe import DataSection
from lorarec.data.prepare import Wanted, prepare
from lorarec.data.raw_tables import RawTables
events = Dataset.from_dict({"user": ["a", "b"] * 20, "item": [1, 2, 3, 4] * 10, "time": list(range(40))})
section = DataSection(source="files", split={"by": "random"})
for seed in (1, 2):
    print(prepare(RawTables(events, origin="events.csv"), Wanted(), section, seed).report.fingerprint)
"""


def test_the_fingerprint_of_a_split_is_the_same_in_every_process_and_differs_between_splits() -> None:
    def run() -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True
        ).stdout.split()

    first, second = run()
    assert [first, second] == run()
    assert first != second
    assert len(first) == 64


def test_training_rows_without_any_weight_are_refused(prepared: Callable[..., PreparedData]) -> None:
    events = {"user": list("aabbcc"), "item": list("uvuvuv"), "time": [1, 2, 3, 4, 5, 6], "w": [0, 0, 0, 0, 0, 1]}
    with pytest.raises(DataError, match="column 'w': all training rows have weight 0"):
        prepared(events, columns={"weight": "w"}, split={"by": "time", "validation": 0.2, "test": 0.2})


def test_other_weights_are_another_fingerprint(prepared: Callable[..., PreparedData]) -> None:
    events = {"user": list("aabbcc"), "item": list("uvuvuv"), "time": [1, 2, 3, 4, 5, 6]}
    fingerprints = {
        prepared({**events, "w": [1, 1, 1, 1, 1, last]}, columns={"weight": "w"}).report.fingerprint for last in (1, 2)
    }
    assert len(fingerprints) == 2

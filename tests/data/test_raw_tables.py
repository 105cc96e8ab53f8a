"""Encoding: ids of any type, catalog order, and errors that name file, row and column."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from datasets import Dataset

from lorarec.data.raw_tables import NumberedTables, RawTables, number_tables
from lorarec.errors import DataError


def numbered(
    events: dict[str, list[Any]],
    items: dict[str, list[Any]] | None = None,
    columns: dict[str, str] | None = None,
    item_text: str | None = None,
    keep: tuple[str, ...] = (),
) -> NumberedTables:
    table = None if items is None else Dataset.from_dict(items)
    raw = RawTables(Dataset.from_dict(events), table, columns=columns or {}, item_text=item_text, origin="events.csv")
    return number_tables(raw, keep)


def refused(*arguments: Any, **named: Any) -> str:
    with pytest.raises(DataError) as caught:
        numbered(*arguments, **named)
    return str(caught.value)


EVENTS = {"user": ["u2", "u1", "u2"], "item": [7, 3, 9]}


def test_the_catalog_lists_the_item_table_first_then_other_items_of_events() -> None:
    made = numbered(EVENTS, {"item": [3, 5, 7], "title": ["Three", "Five", "Seven"]})
    assert made.catalog.ids == ["3", "5", "7", "9"]
    assert made.catalog.titles() == ["Three", "Five", "Seven", "9"]
    assert made.table["item"][:] == [2, 0, 3]
    assert made.items_without_text == 1


def test_users_are_numbered_by_first_appearance() -> None:
    made = numbered(EVENTS)
    assert made.user_ids.to_pylist() == ["u2", "u1"]
    assert made.table["user"][:] == [0, 1, 0]


def test_ids_of_different_types_are_compared_as_text() -> None:
    made = numbered({"user": [1.0, 2.0], "item": ["3", "4"]}, {"item": [4, 3], "title": ["Four", "Three"]})
    assert made.user_ids.to_pylist() == ["1", "2"]
    assert made.table["item"][:] == [1, 0]


def test_a_selection_of_a_dataset_is_encoded_with_its_own_rows() -> None:
    made = number_tables(RawTables(Dataset.from_dict(EVENTS).select([2, 0]), origin="events.csv"))
    assert made.catalog.ids == ["9", "7"]


def test_a_table_in_several_chunks_is_numbered_as_one() -> None:
    from datasets import concatenate_datasets

    parts = [
        Dataset.from_dict({"user": ["a", "b"], "item": [1, 2]}),
        Dataset.from_dict({"user": ["b", "c"], "item": [2, 3]}),
    ]
    made = number_tables(RawTables(concatenate_datasets(parts), origin="events.csv"))
    assert made.table["user"][:] == [0, 1, 1, 2]
    assert made.table["item"][:] == [0, 1, 1, 2]


def test_a_mapped_column_is_read_as_lorarecs_own() -> None:
    made = numbered(
        {"who": [1, 2], "what": [3, 4], "stars": [5, 1]},
        columns={"user": "who", "item": "what", "rating": "stars"},
    )
    assert made.table["rating"][:] == [5.0, 1.0]
    assert set(made.table.column_names) == {"user", "item", "rating"}


def test_rows_without_users_are_separate_users() -> None:
    made = numbered({"item": [1, 2], "history": [[2], []]})
    assert made.user_ids.to_pylist() == ["row-1", "row-2"]
    assert made.table["history"][:] == [[1], []]


def test_items_of_histories_are_in_the_catalog() -> None:
    made = numbered({"user": [1, 1], "item": [1, 2], "history": [[8, 1], [9]], "history_feedback": [[1, 0], [None]]})
    assert made.catalog.ids == ["1", "2", "8", "9"]
    assert made.table["history"][:] == [[2, 0], [3]]
    assert made.table["history_feedback"][0] == [1.0, 0.0]


def test_numbers_are_read_from_text_booleans_and_dates() -> None:
    day = datetime.datetime(1970, 1, 2)
    made = numbered({**EVENTS, "click": [True, False, True], "rating": ["1", "2.5", "3"], "time": [day, day, day]})
    assert made.table["click"][:] == [1.0, 0.0, 1.0]
    assert made.table["rating"][:] == [1.0, 2.5, 3.0]
    assert made.table["time"][:] == [86400.0] * 3


@pytest.mark.parametrize("text", ["1970-01-02", "1970-01-02T00:00:00Z", "1970-01-02 00:00:00", "86400"])
def test_times_are_read_from_text(text: str) -> None:
    assert numbered({**EVENTS, "time": [text] * 3}).table["time"][:] == [86400.0] * 3


def test_a_missing_mapped_column_is_refused_with_the_most_similar_name() -> None:
    message = refused({"user_id": [1], "item": [1]}, columns={"user": "user_ids"})
    assert message.startswith("events.csv: no column 'user_ids'")
    assert "Did you mean 'user_id'?" in message
    assert "Columns: user_id, item." in message


def test_an_unknown_name_in_the_mapping_is_refused() -> None:
    assert "Did you mean 'rating'?" in refused(EVENTS, columns={"ratings": "user"})


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ({"user": [1, None], "item": [1, 2]}, ["'user', row 2", "missing"]),
        ({"user": [1, 1], "item": ["a", ""]}, ["'item', row 2", "empty"]),
        ({"user": [1, 1], "item": [1.5, 2.0]}, ["'item', row 1", "1.5"]),
        ({"user": [True, False], "item": [1, 2]}, ["'user'", "bool"]),
        ({"user": [1, 1], "item": [1, 2], "rating": ["good", "3"]}, ["'rating', row 1", "'good'"]),
        ({"user": [1, 1], "item": [1, 2], "rating": [3.0, float("nan")]}, ["'rating', row 2", "nan"]),
        ({"user": [1, 1], "item": [1, 2], "click": [1, None]}, ["'click', row 2", "missing"]),
        ({"user": [1, 1], "item": [1, 2], "time": [float("inf"), 1.0]}, ["'time', row 1", "inf"]),
        ({"user": [1, 1], "item": [1, 2], "time": ["1", "soon"]}, ["'time', row 2", "'soon'"]),
        ({"user": [1, 1], "item": [1, 2], "rating": [[1], [2]]}, ["'rating'", "list"]),
        ({"user": [1, 1], "item": [1, 2], "history": [[1], None]}, ["'history', row 2", "empty list"]),
        ({"user": [1, 1], "item": [1, 2], "history": [[1], [2, 3, None]]}, ["'history', row 2", "missing"]),
        (
            {"item": [1, 2], "history": [[1, 2], [2]], "history_feedback": [["1", "0"], ["yes"]]},
            ["'history_feedback', row 2", "'yes'"],
        ),
        ({"user": [1, 1], "item": [1, 2], "history": ["[1", "2"]}, ["'history', row 1", "'[1' is not a list"]),
        ({"user": [1, 1], "item": [1, 2], "history": ["1|2", "2||1"]}, ["'history', row 2", "the id is empty"]),
        ({"user": [1, 1], "item": [1, 2], "history": [True, False]}, ["'history'", "bool"]),
        (
            {"user": [1, 1], "item": [1, 2], "history": [[1], [2]], "history_feedback": [[1], [1, 0]]},
            ["'history_feedback', row 2", "2 numbers", "history of 1"],
        ),
        ({"user": [1, 1], "item": [1, 2], "history_feedback": [[1], [1]]}, ["'history_feedback'", "history"]),
        ({"user": [1, 1], "item": [5, 5]}, ["one item", "'5'"]),
        ({"user": [1, 2]}, ["no column 'item'", "data.columns.item"]),
        ({"item": [1, 2]}, ["no column 'user'", "data.columns.user"]),
        ({"ann": ["bob"], "m1": ["m2"], "5": [4]}, ["Line 1 has numbers for names", "header: [user, item"]),
        ({"user": [], "item": []}, ["no rows"]),
    ],
)  # fmt: skip
def test_unusable_values_are_refused_by_file_row_and_column(events: dict[str, list[Any]], said: list[str]) -> None:
    message = refused(events)
    assert message.startswith("events.csv")
    assert all(words in message for words in said), message


@pytest.mark.parametrize(
    ("ids", "cause"),
    [
        (
            ["1", "7", "007", "01"],
            "2 ids may be other spellings of an id in other rows: '1' and '01' differ in",
        ),
        (["caf\u00e9", "cafe\u0301", "e"], "1 id may be another spelling of an id in other rows: 'caf\u00e9' and"),
        (["5", "5.0", "x"], "1 id may be another spelling of an id in other rows: '5' and '5.0' differ in a .0"),
        (["a", " a"], "'a' and ' a' differ in blanks around it"),
        (["a", "a\u00a0"], "'a' and 'a\u00a0' differ in blanks around it"),
        (["0", "10", "A", "a", "1.05", "b c"], None),
    ],
)
def test_users_and_items_that_may_be_spelled_in_two_ways_are_noted(ids: list[str], cause: str | None) -> None:
    for column, other in (("user", "item"), ("item", "user")):
        notes = "\n".join(numbered({column: ids, other: [f"x{n}" for n in range(len(ids))]}).notes)
        assert cause in notes and f"column '{column}'" in notes if cause else notes == ""


def test_an_item_listed_twice_is_refused_by_row() -> None:
    message = refused(EVENTS, {"item": [3, 7, 3], "title": ["a", "b", "c"]})
    assert "item table of events.csv, column 'item', row 3: item '3' is listed again (first in row 1)" in message


def test_an_item_table_without_the_id_is_refused() -> None:
    message = refused(EVENTS, {"asin": [3], "title": ["a"]})
    assert "item table of events.csv: no column 'item'" in message


def test_a_column_of_the_split_is_kept_unchanged() -> None:
    assert numbered({**EVENTS, "fold": ["a", "b", "c"]}, keep=("fold",)).table["fold"][:] == ["a", "b", "c"]
    assert "no column 'folds'" in refused({**EVENTS, "fold": ["a", "b", "c"]}, keep=("folds",))


def test_weights_are_read_from_the_column_that_is_named_and_no_other() -> None:
    events = {**EVENTS, "weight": [2.5, 0.1, 4.0], "importance": ["1", "0", "2.5"]}
    assert "weight" not in numbered(events).table.column_names, "a parcel may weigh 2.5 kg"
    assert numbered(events, columns={"weight": "importance"}).table["weight"][:] == [1.0, 0.0, 2.5]


def test_negative_weights_are_refused_by_row_and_so_are_weights_that_are_all_zero() -> None:
    said = refused({**EVENTS, "w": [1.0, 0.0, -0.5]}, columns={"weight": "w"})
    assert said.startswith("events.csv, column 'w', row 3: -0.5 is below 0.")
    assert "all 3 weights are 0" in refused({**EVENTS, "w": [0, 0, 0]}, columns={"weight": "w"})
    assert "row 2" in refused({**EVENTS, "w": [1.0, None, 1.0]}, columns={"weight": "w"})

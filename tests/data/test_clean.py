"""Rows that settings leave out: missing values, duplicates, rare users and items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lorarec.data.prepare import PreparedData
from lorarec.errors import DataError

Prepare = Callable[..., PreparedData]
SPLIT = {"by": "random", "validation": 0, "test": 0.2}


def events(count: int = 10, **columns: list[Any]) -> dict[str, list[Any]]:
    rows = {"user": ["a", "b"] * (count // 2), "item": [f"i{n % 5}" for n in range(count)], "time": list(range(count))}
    return rows | columns


def test_missing_values_are_refused_with_count_and_rows_by_default(prepared: Prepare) -> None:
    rows = events(rating=["3", "", None, "4", "  ", *"12345"])
    with pytest.raises(DataError, match=r"row 2: the value is missing \(empty\), as it is in 3 rows: 2, 3, 5"):
        prepared(rows, split=SPLIT)


def test_missing_values_are_left_out_and_counted_by_column(prepared: Prepare) -> None:
    rows = events(rating=["3", "", None, "4", "  ", *"12345"], user=["", *"abababab", None])
    data = prepared(rows, split=SPLIT, missing="drop", label="rating")
    assert data.interactions.column("rating").tolist() == [4, 1, 2, 3, 4]
    assert data.interactions.user_ids.to_pylist() == ["a", "b"], "the users of rows that stay, in their order"
    assert data.report.dropped == {
        "no value in column 'user' (data.missing=drop)": 2,
        "no value in column 'rating' (data.missing=drop)": 3,
    }
    lines = "\n".join(data.report.lines())
    assert "events.csv: 5 rows of 2 users" in lines and "3 rows are left out: no value in column 'rating'" in lines


@pytest.mark.parametrize("word", ["k.A.", "\\\\N", "NULL", "N/A", "-", "0000-00-00"])
def test_declared_words_stand_for_a_missing_value_and_the_refusal_suggests_them(word: str, prepared: Prepare) -> None:
    rows = events(
        time=["2024-01-01", word, *(f"2024-01-{day:02}" for day in range(2, 9)), word],
        rating=["3", "4", word, *"1234512"],
    )
    with pytest.raises(DataError, match=r"'time', row 2: .* is not a date") as caught:
        prepared(rows, split=SPLIT)
    assert f"If {word!r} (in 2 rows) stands for a missing value" in str(caught.value)
    with pytest.raises(DataError, match=r"'time', row 2: the value is missing \(.*\), as it is in 2 rows: 2, 10\."):
        prepared(rows, split=SPLIT, missing_values=[word])
    data = prepared(rows, split=SPLIT, missing="drop", missing_values=[word], label="rating")
    assert data.interactions.column("rating").tolist() == [3, 1, 2, 3, 4, 5, 1]
    assert data.report.dropped == {
        "no value in column 'time' (data.missing=drop)": 2,
        "no value in column 'rating' (data.missing=drop)": 1,
    }


def test_numbers_that_recur_are_not_taken_for_missing_values(prepared: Prepare) -> None:
    with pytest.raises(DataError, match=r"row 1: '1/5' is not a number\. Correct or remove the row\.$"):
        prepared(events(rating=["1/5"] * 10), split=SPLIT)
    with pytest.raises(DataError, match=r"row 2: 'k\.A\.', but row 1 says 'Yes'.* If 'k\.A\.' stands for a missing"):
        prepared(events(click=["Yes", "k.A.", *["No"] * 8]), split=SPLIT)


def test_words_may_be_declared_for_one_column_and_be_numbers(prepared: Prepare) -> None:
    rows = events(rating=[0, 1, 2, 3, 4, 5, 1, 2, 3, 0], item=["-", *"xyzxyzxyz"])
    data = prepared(rows, split=SPLIT, missing="drop", missing_values={"rating": [0]}, label="rating")
    assert data.interactions.column("rating").tolist() == [1, 2, 3, 4, 5, 1, 2, 3]
    data = prepared(rows, split=SPLIT)
    assert "-" in data.catalog.ids, "ids stay as they are written"
    data = prepared(rows, split=SPLIT, missing="drop", missing_values=["-"])
    assert "-" not in data.catalog.ids and len(data.interactions) == 9


def test_words_are_compared_as_they_are_written_without_blanks_around_them(prepared: Prepare) -> None:
    for values, word, left in (
        ([1234567.5, *range(1, 10)], 1234567.5, list(range(1, 10))),
        ([99999999.0, *range(1, 10)], 99999999.0, list(range(1, 10))),
        ([0.1, *range(1, 10)], 0.1, list(range(1, 10))),
        (["N/A", *map(str, range(1, 10))], " N/A ", list(range(1, 10))),
        ([-1, *range(1, 10)], -1.0, list(range(1, 10))),
    ):
        data = prepared(events(rating=values), split=SPLIT, missing="drop", missing_values={"rating": [word]})
        rating = prepared(
            events(rating=values), split=SPLIT, missing="drop", missing_values=[word], label="rating"
        ).interactions
        assert rating.column("rating").tolist() == left and len(data.interactions) == 9
    users = [2**53, 2**53 + 1] * 5
    data = prepared(events(user=users), split=SPLIT, missing="drop", missing_values={"user": [2**53]})
    assert data.interactions.user_ids.to_pylist() == [str(2**53 + 1)]


def test_words_that_are_numbers_are_compared_as_numbers_in_columns_of_text_too(prepared: Prepare) -> None:
    rows = events(rating=["0.0", "k.A.", "2.5", *"1234123"])
    with pytest.raises(DataError, match=r"'rating', row 1: the value is missing \('0'\), as it is in 2 rows: 1, 2\."):
        prepared(rows, split=SPLIT, missing_values={"rating": ["k.A.", 0]})
    data = prepared(rows, split=SPLIT, missing="drop", missing_values={"rating": ["k.A.", 0]}, label="rating")
    assert data.interactions.column("rating").tolist() == [2.5, 1, 2, 3, 4, 1, 2, 3]
    with pytest.raises(DataError, match=r"'rating', row 3: 'x' is not a number"):
        prepared(events(rating=["0.0", "k.A.", "x", *"1234123"]), split=SPLIT, missing_values={"rating": ["k.A.", 0]})
    clicks = events(click=["yes", "k.A.", *["no"] * 8])
    data = prepared(clicks, split=SPLIT, missing="drop", missing_values={"click": ["k.A.", 0]}, label="click")
    assert data.interactions.column("click").tolist() == [1, *[0] * 8]
    users = prepared(events(user=["0", "0.0"] * 5), split=SPLIT, missing="drop", missing_values=["0"])
    assert users.interactions.user_ids.to_pylist() == ["0.0"], "ids are text"


def test_words_for_a_column_that_is_not_read_are_refused(prepared: Prepare) -> None:
    for name in ("rating", "event", "weight"):
        with pytest.raises(DataError, match=rf"data\.missing_values names '{name}', .*data\.columns\.{name}=NAME"):
            prepared(events(weights=list(range(10))), split=SPLIT, missing="drop", missing_values={name: [0]})


@pytest.mark.parametrize("histories", [["i2|NULL|i3", "i1"], [["i2", "NULL", "i3"], ["i1"]], ["['i2', 'NULL']", "i1"]])
@pytest.mark.parametrize("words", [["NULL"], {"item": ["NULL"]}])
def test_words_in_histories_are_refused_by_row(histories: list[Any], words: Any, prepared: Prepare) -> None:
    rows: dict[str, list[Any]] = {"item": ["i1", "i2"] * 5, "history": histories[::-1] * 5}
    with pytest.raises(DataError, match=r"'history', row 2: 'NULL' stands for a missing value.*missing_values"):
        prepared(rows, split=SPLIT, missing_values=words)
    assert "NULL" in prepared(rows, split=SPLIT, missing_values=["null"]).catalog.ids


@pytest.mark.parametrize("words", [["-", 0], {"rating": ["-", 0]}])
@pytest.mark.parametrize("feedback", ["4|-|0", "4.0|-|0.0", ["4", " - ", " "], [4.0, 0.0, 0.0]])
def test_words_in_the_feedback_of_histories_are_missing_numbers(feedback: Any, words: Any, prepared: Prepare) -> None:
    rows = {"item": ["i1", "i2"] * 5, "rating": [1, 2] * 5}
    rows |= {"history": [["i1", "i2", "i1"]] * 10, "history_feedback": [feedback] * 10}
    data = prepared(rows, split=SPLIT, missing_values=words)
    assert str(data.interactions.table["history_feedback"][0]) == "[4.0, nan, nan]"


def test_words_for_ratings_are_those_of_feedback_where_rows_have_no_rating_of_their_own(prepared: Prepare) -> None:
    rows = {"item": ["i1", "i2"] * 5, "click": [1, 0] * 5, "history": ["i1|i2"] * 10, "history_feedback": ["4|-"] * 10}
    data = prepared(rows, split=SPLIT, missing_values={"rating": ["-"]})
    assert str(data.interactions.table["history_feedback"][0]) == "[4.0, nan]"


def test_words_that_are_numbers_are_no_clicks_in_words(prepared: Prepare) -> None:
    rows = {"item": ["i1", "i2"] * 5, "click": [1, 0] * 5, "history": ["i1|i2"] * 10}
    for clicks in ("yes|no", [True, False]):
        data = prepared(rows | {"history_feedback": [clicks] * 10}, split=SPLIT, missing_values={"rating": [0, 1]})
        assert str(data.interactions.table["history_feedback"][0]) == "[1.0, 0.0]"


def test_words_for_a_column_that_kinds_of_events_replace_are_refused_as_such(prepared: Prepare) -> None:
    kinds = {"positive": ["view"], "negative": ["return"]}
    for columns in ({}, {"rating": "stars"}):
        name = columns.get("rating", "rating")
        rows = events(event=["view", "return"] * 5) | {name: ["-", *"123451234"]}
        with pytest.raises(
            DataError, match=rf"names 'rating', but column '{name}' of events.csv is not read: .*events"
        ):
            prepared(rows, split=SPLIT, events=kinds, columns=columns, missing_values={"rating": ["-"], "event": ["-"]})


def test_words_are_missing_values_in_numbers_of_the_item_table_too(prepared: Prepare) -> None:
    items = {"item": ["i0", "i1"], "title": ["A", "B"], "year": [1999, -1]}
    data = prepared(events(), items, split=SPLIT, missing_values=[-1], item_text="{title} {year}")
    assert data.catalog.texts([0, 1]) == ["A 1999", "B"]


def test_rows_without_a_kind_of_event_are_refused_or_left_out_and_counted(prepared: Prepare) -> None:
    rows = events(event=["view", "", "buy", "n/a", *["view"] * 6])
    kinds = {"positive": ["view", "buy"]}
    with pytest.raises(DataError, match=r"'event', row 2: the value is missing \(empty\)\..*data\.missing=drop"):
        prepared(rows, split=SPLIT, events=kinds)
    data = prepared(rows, split=SPLIT, events=kinds, missing="drop", missing_values={"event": ["n/a"]})
    assert data.report.dropped == {"no value in column 'event' (data.missing=drop)": 2}
    assert data.interactions.time is not None and data.interactions.time.tolist() == [0, 2, *range(4, 10)]


def test_a_line_of_names_within_the_rows_is_refused(prepared: Prepare) -> None:
    rows: dict[str, list[Any]] = {"user": ["a", "b", "user", "c"], "item": ["x", "y", "item", "z"]}
    with pytest.raises(DataError, match=r"events\.csv, row 3: the names of the columns instead of values"):
        prepared(rows, split=SPLIT)
    rows = {"user": ["a", "b", "\ufeffuser", "c"], "item": ["x", "y", "item", "z"], "rating": ["1", "2", "rating", "3"]}
    with pytest.raises(DataError, match=r"'rating', row 3: .*joined files may have several lines of names\.$"):
        prepared(rows, split=SPLIT)
    data = prepared({"user": ["a", "user", "b"], "item": ["item", "y", "z"]}, split=SPLIT | {"test": 0.4})
    assert len(data.interactions) == 3, "ids that are called so"


def test_items_without_an_id_are_refused_by_row_or_left_out_and_counted(prepared: Prepare) -> None:
    items = {"item": ["i0", None, "i1", "", "-"], "title": ["A", "B", "-", "D", "E"]}
    with pytest.raises(
        DataError, match=r"item table of .*, column 'item', row 2: .* in 2 rows: 2, 4.*data\.missing=drop"
    ):
        prepared(events(), items, split=SPLIT)
    data = prepared(events(), items, split=SPLIT, missing="drop", missing_values=["-"])
    assert data.catalog.ids[:2] == ["i0", "i1"] and data.catalog.titles([0, 1]) == ["A", "i1"]
    assert data.report.dropped == {"no value in column 'item' of the item table (data.missing=drop)": 3}
    assert data.report.empty_texts == 1
    items = {"item": [None, "i0", "i0"], "title": ["A", "B", "C"]}
    with pytest.raises(DataError, match=r"row 3: item 'i0' is listed again \(first in row 2\)"):
        prepared(events(), items, split=SPLIT, missing="drop")


def test_the_item_tables_id_may_have_another_name(prepared: Prepare) -> None:
    items = {"sku": ["i0", "i1"], "title": ["A", "B"]}
    with pytest.raises(DataError, match=r"no column 'item', which should hold the item's id; .* data\.item_id=NAME"):
        prepared(events(), items, split=SPLIT)
    assert prepared(events(), items, split=SPLIT, item_id="sku").catalog.titles([0, 1]) == ["A", "B"]
    with pytest.raises(DataError, match=r"no column 'skuu', which data\.item_id names\. Did you mean 'sku'"):
        prepared(events(), items, split=SPLIT, item_id="skuu")
    with pytest.raises(DataError, match=r"data\.item_id=sku does nothing here"):
        prepared(events(), split=SPLIT, item_id="sku")


def test_messages_name_the_rows_of_the_file_after_rows_were_left_out(prepared: Prepare) -> None:
    rows = events(rating=["", "", "4", "x", *"123456"])
    with pytest.raises(DataError, match=r"'rating', row 4: 'x' is not a number"):
        prepared(rows, split=SPLIT, missing="drop")
    rows = events(rating=["", *"333333333"], fold=["train"] * 9 + ["tst"])
    with pytest.raises(DataError, match="row 10: 'tst' is not a part"):
        prepared(rows, split={"by": "column", "column": "fold"}, missing="drop")
    rows = events(rating=["", *"333333333"], weight=["1"] * 9 + ["-1"])
    with pytest.raises(DataError, match="row 10: -1 is below 0"):
        prepared(rows, split=SPLIT, missing="drop", columns={"weight": "weight"})


def test_duplicates_are_rows_of_the_same_user_item_and_time(prepared: Prepare) -> None:
    rows = {"user": list("aaaab"), "item": list("xxxyx"), "time": [1, 1, 2, 1, 1], "rating": [3, 3, 3, 4, 5]}
    assert len(prepared(rows, split=SPLIT).interactions) == 5
    data = prepared(rows, split=SPLIT, duplicates="drop")
    assert data.interactions.column("time").tolist() == [1, 2, 1, 1]
    assert data.report.dropped == {"repeat user, item, time of an earlier row (data.duplicates=drop)": 1}
    del rows["time"]
    rows["rating"] = [3, 2, 3, 4, 5]
    data = prepared(rows, split=SPLIT, duplicates="drop")
    assert data.interactions.column("rating").tolist() == [3, 4, 5], "the first one stays"
    assert data.report.dropped == {
        "repeat user, item of an earlier row, 1 of them with another label (data.duplicates=drop)": 2
    }


def test_duplicates_are_added_up_as_weights(prepared: Prepare) -> None:
    rows = {"user": list("aaaab"), "item": list("xxxyx"), "plays": ["1", "2,5", "3", "4", "5"]}
    data = prepared(rows, split=SPLIT, duplicates="sum", columns={"weight": "plays"})
    assert data.interactions.column("weight").tolist() == [6.5, 4, 5]
    del rows["plays"]
    data = prepared(rows, split=SPLIT, duplicates="sum")
    assert data.interactions.column("weight").tolist() == [3, 1, 1]
    with pytest.raises(DataError, match="rows 1 and 3 are the same event with a rating of 3 and 5, which cannot be"):
        prepared({**rows, "rating": [3, 3, 5, 1, 1]}, split=SPLIT, duplicates="sum")


def test_min_events_is_the_k_core_of_users_and_items(prepared: Prepare) -> None:
    generator = np.random.default_rng(3)
    user, item = generator.integers(0, 30, 150), generator.integers(0, 40, 150)
    kept = np.ones(150, bool)
    while True:
        few_users = {u for u in set(user) if (user[kept] == u).sum() < 4}
        few_items = {i for i in set(item) if (item[kept] == i).sum() < 3}
        rest = kept & ~np.isin(user, list(few_users)) & ~np.isin(item, list(few_items))
        if (rest == kept).all():
            break
        kept = rest
    assert 0 < kept.sum() < 150
    rows = {"user": user.tolist(), "item": item.tolist(), "time": list(range(150))}
    data = prepared(rows, split=SPLIT, min_events={"user": 4, "item": 3})
    assert data.interactions.column("time").tolist() == np.flatnonzero(kept).tolist()
    assert len(data.catalog) == len(set(item[kept])) and len(data.interactions.user_ids) == len(set(user[kept]))
    reason = "their user has fewer than 4 events or their item fewer than 3 (data.min_events)"
    assert data.report.dropped == {reason: int((~kept).sum())}
    one = prepared(rows, split=SPLIT, min_events=3)
    assert one.report.fingerprint == prepared(rows, split=SPLIT, min_events={"user": 3, "item": 3}).report.fingerprint
    with pytest.raises(DataError, match=r"leaves no row\. Lower it"):
        prepared(rows, split=SPLIT, min_events=100)


def test_ignored_kinds_are_not_touched_and_not_counted(prepared: Prepare) -> None:
    rows = events(event=["view", "scroll"] * 5, item=[*"x-y-x-y-z", ""])
    data = prepared(
        rows, split=SPLIT, missing="drop", min_events=2, events={"positive": ["view"], "ignore": ["scroll"]}
    )
    assert data.report.rows == 4 and data.catalog.ids == ["x", "y"]


def test_rows_with_their_own_histories_cannot_be_merged_or_thinned(prepared: Prepare) -> None:
    rows = {"user": ["a", "b"], "item": [1, 2], "history": [[2], [1]]}
    for setting in ({"duplicates": "drop"}, {"min_events": 2}):
        with pytest.raises(DataError, match=f"data.{next(iter(setting))} does nothing here"):
            prepared(rows, split=SPLIT, **setting)

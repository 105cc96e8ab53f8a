"""Arguments of `predict` and `recommend` in Python: what pandas, numpy and Arrow users pass is read as they expect."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from lorarec.errors import DataError
from lorarec.inference.arguments import asked, feedback_of, histories_of, id_texts, users_of

ROWS = {"item": ["a", "b"], "history": [["c", "d"], []], "history_feedback": [[5, 1], []], "user.age": [30, None]}
FRAME = pd.DataFrame(ROWS, index=[7, 9])
TABLES: dict[str, Callable[[], Any]] = {
    "data frame": lambda: FRAME,
    "data frame of texts": lambda: FRAME.assign(history=["c|d", None], history_feedback=["5|1", ""]),
    "dict of columns": lambda: ROWS,
    "arrow": lambda: pa.table(ROWS),
    "dataset": lambda: Dataset.from_dict(ROWS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_has_the_columns_of_a_request_file(kind: str) -> None:
    table = TABLES[kind]()
    given = asked(table, None, None, None, ("age",))
    assert id_texts(table, "items") == ["a", "b"]
    assert given.histories == [["c", "d"], []]
    assert given.feedback == [[5, 1], []]
    assert given.users == [{"age": 30}, {"age": None}]


def test_an_argument_that_is_given_comes_before_the_tables_column() -> None:
    given = asked(FRAME, [["x"], ["y"]], FRAME.history_feedback, None, ())
    assert given == ([["x"], ["y"]], [[5, 1], []], None)
    assert asked(["a"], FRAME, FRAME, None, ()).histories == [["c", "d"], []]


@pytest.mark.parametrize(
    "items",
    [
        ["1", "2"],
        ("1", "2"),
        iter(["1", "2"]),
        [1, 2],
        [np.int64(1), 2.0],
        [Decimal(1), Decimal("2.00")],
        range(1, 3),
        np.array([1, 2]),
        np.array([1.0, 2.0], np.float32),
        np.array(["1", "2"]),
        pd.Series([1, 2], index=[5, 3]),
        pd.Series(["1", "2"], dtype="category"),
        pd.Index(["1", "2"]),
        pa.array([1, 2]),
        pa.chunked_array([["1"], ["2"]]),
        torch.tensor([1, 2]),
        {"item": [1, 2]},
    ],
)
def test_ids_are_read_by_position_and_as_text_from_any_list(items: Any) -> None:
    assert id_texts(items, "items") == ["1", "2"]


@pytest.mark.parametrize(
    "histories",
    [
        [["1", "2"], []],
        ((each for each in history) for history in [[1, 2], []]),
        [np.array([1, 2]), None],
        [pd.Series([1, 2], index=[9, 8]), float("nan")],
        pd.Series([["1", "2"], pd.NA], index=[4, 2]),
        pa.array([["1", "2"], None]),
        {"history": ["1|2", ""]},
        {"history": ["[1, 2]", "[]"]},
        pd.DataFrame({"history": ["1,2", None]}),
        {"history": (text for text in ("1 2", ""))},
    ],
)
def test_histories_are_lists_of_ids_and_what_is_missing_is_an_empty_one(histories: Any) -> None:
    assert histories_of(histories) == [["1", "2"], []]


def test_a_text_of_a_table_is_separated_by_what_no_id_contains() -> None:
    table = pd.DataFrame({"history": ["a,b;c", "a,b"], "history_feedback": ["5;4.5", "3"]})
    given = asked(table, table, None, None, (), [pa.array(["a,b", "c"])])
    assert given.histories == [["a,b", "c"], ["a,b"]] and given.feedback == [[5, 4.5], [3]]
    assert histories_of({"history": [7, 8.0, Decimal("5"), np.nan]}) == [["7"], ["8"], ["5"], []]


@pytest.mark.parametrize(
    ("histories", "feedback", "decimal", "numbers"),
    [
        (["a|b", "a"], ["4,5|3,5", "1"], None, [[4.5, 3.5], [1]]),
        (["a|b", "a"], ["1.000|2,5", "4,5"], ",", [[1000, 2.5], [4.5]]),
        (["a", "b"], ["4,5", "3,5"], ",", [[4.5], [3.5]]),
        ([["a", "b"], ["a"]], ["4,5;3,5", 2], ",", [[4.5, 3.5], [2]]),
        ([["a", "b"], ["a"]], [["1.000", 2], [Decimal(3)]], ",", [[1000, 2], [3]]),
        (["a,b", "a"], ["5,4", "3"], None, [[5, 4], [3]]),
    ],
)
def test_feedback_as_text_is_read_as_in_files(
    histories: list[Any], feedback: list[Any], decimal: str | None, numbers: list[list[float]]
) -> None:
    table = pd.DataFrame({"history": histories, "history_feedback": feedback})
    assert asked(table, table, None, None, (), decimal=decimal).feedback == numbers


def test_feedback_has_the_separator_of_the_histories() -> None:
    table = pd.DataFrame({"history": ["a,b"], "history_feedback": ["4 5"]})
    with pytest.raises(DataError, match="feedback, row 1: '4 5' is not a number"):
        asked(table, table, None, None, ())


def test_feedback_that_is_missing_is_no_number() -> None:
    for given in ([[1, None], None], pd.Series([[1.0, np.nan], None]), {"history_feedback": ["1|", ""]}):
        first, second = feedback_of(given)
        assert first[0] == 1 and np.isnan(first[1]) and second == []


@pytest.mark.parametrize(
    "users",
    [
        [{"age": 1}, {"age": None}],
        pd.DataFrame({"age": [1, None], "name": ["x", "y"]}),
        pd.DataFrame({"user.age": [1, None]}),
        {"age": [1, None]},
        pa.table({"age": [1, None]}),
    ],
)
def test_users_are_rows_of_columns(users: Any) -> None:
    assert users_of(users, ("age",)) == [{"age": 1}, {"age": None}]
    assert users_of([None, {"age": 2}], ("age",)) == [None, {"age": 2}]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "bare text": (lambda: id_texts("abc", "items"), "items: 'abc' is one text, not a list. Give a list"),
    "bytes": (lambda: id_texts(b"abc", "items"), "is one text"),
    "none": (lambda: id_texts(None, "items"), "items: None is not a list"),
    "number": (lambda: id_texts(5, "items"), "items: 5 is not a list"),
    "set": (lambda: id_texts({"a"}, "items"), "items: a set has no order"),
    "no column": (
        lambda: id_texts(pd.DataFrame({"x": [1]}), "items"),
        "needs a column 'item', but its columns are: 'x'",
    ),
    "column twice": (lambda: id_texts(pd.DataFrame([[1, 2]], columns=["item", "item"]), "items"), "two columns 'item'"),
    "missing id": (lambda: id_texts(["a", None], "items"), "items, row 2: the id is missing"),
    "nan": (lambda: id_texts(pd.Series([1, None]), "items"), "items, row 2: the id is missing"),
    "fraction": (lambda: id_texts([1.5], "items"), "items, row 1: 1.5 is not an id"),
    "rounded": (lambda: id_texts([1e17], "items"), "digits of the id are lost in the float 1e.17"),
    "rounded array": (lambda: id_texts(np.array([1, 2**24 + 1], np.float32), "items"), "row 2: digits of the id are"),
    "rounded column": (
        lambda: id_texts(pd.DataFrame({"item": np.array([2**24 + 1], np.float32)}), "items"),
        "row 1: digits of the id are lost",
    ),
    "rounded tensor": (lambda: id_texts(torch.tensor([2049.0], dtype=torch.float16), "items"), "digits of the id are"),
    "rounded history": (lambda: histories_of([pa.array([2.0**24], pa.float32())]), "item 1: digits of the id are"),
    "rounded column of histories": (
        lambda: histories_of(pd.DataFrame({"history": [2**53 + 1, None]})),
        "histories, row 1, item 1: digits of the id are lost",
    ),
    "rounded column of single numbers": (
        lambda: histories_of(pd.DataFrame({"history": np.array([1, 2**24 + 1], np.float32)})),
        "histories, row 2, item 1: digits of the id are lost",
    ),
    "rounded column of lists": (
        lambda: histories_of(pa.table({"history": pa.array([[2.0**24]], pa.list_(pa.float32()))})),
        "histories, row 1, item 1: digits of the id are lost",
    ),
    "fraction as a history": (lambda: histories_of({"history": [1.5]}), "row 1, item 1: 1.5 is not an id"),
    "rounded number": (lambda: id_texts([np.float32(2**24 + 1)], "items"), "digits of the id are lost"),
    "decimal fraction": (lambda: id_texts([Decimal("1.5")], "items"), r"Decimal\('1.5'\) is not an id"),
    "no decimal": (lambda: id_texts([Decimal("sNaN")], "items"), "is not an id"),
    "true": (lambda: id_texts([True], "items"), "True is not an id"),
    "digits": (lambda: id_texts([10**5000], "items"), "items, row 1: a int is not an id"),
    "nested": (lambda: id_texts([["a"]], "items"), r"items, row 1: \['a'\] is not an id"),
    "ids as histories": (
        lambda: histories_of(["048", "013"]),
        "histories, row 1: '048' is one text, not a list of ids",
    ),
    "text series": (lambda: histories_of(pd.Series(["a|b"])), "histories, row 1: 'a|b' is one text"),
    "id missing": (lambda: histories_of([["a"], ["b", None]]), "histories, row 2, item 2: the id is missing"),
    "histories by user": (lambda: histories_of({"u1": ["a"]}), "needs a column 'history', but its columns are: 'u1'"),
    "a history of frames": (lambda: histories_of([FRAME]), "histories, row 1: a DataFrame is not a list"),
    "broken list": (lambda: histories_of({"history": ["[1"]}), "histories, row 1: '.1' is not a list of ids"),
    "word": (lambda: feedback_of([["x"]]), "feedback, row 1: 'x' is not a number"),
    "infinite": (lambda: feedback_of([[float("inf")]]), "feedback, row 1: an infinite number"),
    "huge": (lambda: feedback_of([[10**400]]), "is not a number"),
    "large": (lambda: feedback_of([[1e30]]), "feedback, row 1: 1e.30 is too large to compute with"),
    "one number": (lambda: feedback_of([5]), "feedback, row 1: 5 is not a list"),
    "no such user column": (lambda: users_of(pd.DataFrame({"x": [1]}), ("age",)), r"that the run reads \(age\)"),
    "one user": (lambda: users_of({"age": 1}, ("age",)), "users: one user, but a list is needed"),
    "no user columns": (lambda: users_of([{}], ()), "this run reads no user columns"),
    "uneven": (lambda: users_of({"age": [1], "sex": [1, 2]}, ("age", "sex")), "columns have different lengths"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_list_of_ids_or_numbers_is_refused_by_argument_and_row(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        call()

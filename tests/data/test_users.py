"""The users' table: the columns of a user with a row are read, and those of a user without one are empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables
from lorarec.data.users import users_of_requests
from lorarec.errors import DataError

EVENTS = {"user": [7, 8] * 6, "item": ["a", "b"] * 6, "time": list(range(12))}
USERS = {"user": ["8", "9"], "age": [24.0, None], "likes": [["tea", "rain"], []], "portrait": ["Reads a lot.", None]}


def prepared(users: dict[str, list[Any]] | None, *columns: str, asked: bool = False) -> PreparedData:
    table = None if users is None else Dataset.from_dict(users)
    raw = RawTables(Dataset.from_dict(EVENTS), users=table, users_asked=asked, origin="events.csv")
    return prepare(raw, Wanted(user_columns=columns), DataSection(source="files"), 13)


def test_the_columns_of_a_user_are_text_and_empty_without_a_row() -> None:
    data = prepared(USERS, "age", "likes", "portrait")
    assert data.users is not None and data.interactions.user_ids.to_pylist() == ["7", "8"]
    assert data.users.words(np.array([1, 0, -1])) == [("24", "tea, rain", "Reads a lot."), ("", "", ""), ("", "", "")]
    line = "{user.age}, {user.likes}, {user.portrait} of the users' table are read; 1 of 2 users have no row there"
    assert line in data.report.lines()


def test_rows_without_a_value_are_counted_by_column() -> None:
    blank = {"user": ["7", "8"], "age": [None, 24.0], "sex": [" ", ""], "likes": [None, ["tea"]]}
    note = prepared(blank, "age", "sex", "likes").report.users_note
    counts = [f"{count} have a row without '{name}'" for name, count in (("age", 1), ("sex", 2), ("likes", 1))]
    assert note.endswith(", ".join(["0 of 2 users have no row there", *counts]))


def test_a_missing_column_is_refused_with_the_most_similar() -> None:
    with pytest.raises(
        DataError, match=r"users' table of events\.csv: no column 'aeg', .*\{user\.aeg\}.* mean 'age'\?"
    ):
        prepared(USERS, "aeg")


def test_a_user_who_is_listed_twice_and_a_table_of_other_users_are_refused() -> None:
    with pytest.raises(DataError, match="row 2: user '8' is listed again"):
        prepared({"user": [8, 8], "age": [1, 2]}, "age")
    with pytest.raises(DataError, match=r"none of the users, such as '7', is in its column 'user' \(it has 'x'\)"):
        prepared({"user": ["x"], "age": [1]}, "age")
    with pytest.raises(DataError, match="no column 'user', which should hold the user's id"):
        prepared({"uid": ["x"], "age": [1]}, "age")


def test_the_column_of_ids_that_is_named_must_be_there_though_nothing_reads_the_table() -> None:
    raw = RawTables(Dataset.from_dict(EVENTS), users=Dataset.from_dict(USERS), origin="events.csv")
    for columns in ((), ("age",)):
        with pytest.raises(DataError, match=r"no column 'usr', which data\.user_id names\. Did you mean 'user'"):
            prepare(raw, Wanted(user_columns=columns), DataSection(source="files", user_id="usr"), 13)
    assert prepare(raw, Wanted(), DataSection(source="files", user_id="user"), 13).users is None


def test_a_template_without_a_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"templates name \{user\.age\}, but events\.csv comes without a users' table"):
        prepared(None, "age")


def test_a_table_that_nothing_reads_is_mentioned_or_refused_where_an_option_names_it() -> None:
    assert any("nothing reads the users' table (user, age" in line for line in prepared(USERS).report.lines())
    assert prepared(USERS).users is None
    with pytest.raises(DataError, match="nothing reads the users' table"):
        prepared(USERS, asked=True)


def test_columns_of_users_are_part_of_the_fingerprint() -> None:
    older = {**USERS, "age": [25.0, None]}
    fingerprints = [
        prepared(users, *columns).report.fingerprint for users in (USERS, older) for columns in ((), ("age",))
    ]
    assert fingerprints[0] == fingerprints[2] and len(set(fingerprints)) == 3


def test_rows_without_a_user_column_cannot_have_columns_of_users(prepared: Callable[..., PreparedData]) -> None:
    events = Dataset.from_dict({"item": ["a", "b"] * 6, "history": [["b"], ["a"]] * 6})
    raw = RawTables(events, users=Dataset.from_dict(USERS), origin="events.csv")
    section = DataSection(source="files", split={"by": "random"})
    with pytest.raises(DataError, match="have no user column"):
        prepare(raw, Wanted(user_columns=("age",)), section, 13)


@pytest.mark.parametrize("kept", [[True, False], ["True", "False"], ["true", "false"]])
def test_booleans_and_their_names_are_the_same_text(kept: list[Any]) -> None:
    data = prepared({"user": ["7", "8"], "member": kept}, "member")
    assert data.users is not None and data.users.words(np.arange(2)) == [("true",), ("false",)]
    assert users_of_requests([{"member": kept[0]}], ("member",)).words(np.arange(1)) == [("true",)]


def test_requests_may_have_some_columns_of_users_and_no_others() -> None:
    users = users_of_requests([{"age": 24.0}, None, {"portrait": "Calm."}], ("age", "portrait"))
    assert users.words(np.arange(3)) == [("24", ""), ("", ""), ("", "Calm.")]
    with pytest.raises(DataError, match=r"users, row 2: no column 'agee'.*Did you mean 'age'\?"):
        users_of_requests([None, {"agee": 3}], ("age",))

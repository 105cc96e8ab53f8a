"""The users' table: who has a row there is described by it, and whoever has none is described by nothing."""

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


def test_a_user_is_described_in_words_and_one_without_a_row_by_nothing() -> None:
    data = prepared(USERS, "age", "likes", "portrait")
    assert data.users is not None and data.interactions.user_ids == ["7", "8"]
    assert data.users.words(np.array([1, 0, -1])) == [("24", "tea, rain", "Reads a lot."), ("", "", ""), ("", "", "")]
    told = "{user.age}, {user.likes}, {user.portrait} of the users' table are read; 1 of 2 users have no row there"
    assert told in data.report.lines()


def test_a_column_that_is_missing_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"users' table of events\.csv: no column 'aeg', .*\{user\.aeg\}.* mean 'age'\?"
    ):
        prepared(USERS, "aeg")


def test_a_user_who_is_there_twice_and_a_table_of_other_users_are_refused() -> None:
    with pytest.raises(DataError, match="row 2: user '8' is listed again"):
        prepared({"user": [8, 8], "age": [1, 2]}, "age")
    with pytest.raises(DataError, match=r"none of the users, such as '7', is in its column 'user' \(it has 'x'\)"):
        prepared({"user": ["x"], "age": [1]}, "age")
    with pytest.raises(DataError, match="no column 'user', which should hold the user's id"):
        prepared({"uid": ["x"], "age": [1]}, "age")


def test_a_template_without_a_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"templates name \{user\.age\}, but events\.csv comes without a users' table"):
        prepared(None, "age")


def test_a_table_that_nothing_reads_is_mentioned_or_refused_where_an_option_names_it() -> None:
    assert any("nothing reads the users' table (user, age" in line for line in prepared(USERS).report.lines())
    assert prepared(USERS).users is None
    with pytest.raises(DataError, match="nothing reads the users' table"):
        prepared(USERS, asked=True)


def test_what_is_read_of_users_is_part_of_the_data_s_fingerprint() -> None:
    older = {**USERS, "age": [25.0, None]}
    fingerprints = [
        prepared(users, *columns).report.fingerprint for users in (USERS, older) for columns in ((), ("age",))
    ]
    assert fingerprints[0] == fingerprints[2] and len(set(fingerprints)) == 3


def test_rows_that_do_not_say_whose_they_are_have_no_users_to_describe(prepared: Callable[..., PreparedData]) -> None:
    events = Dataset.from_dict({"item": ["a", "b"] * 6, "history": [["b"], ["a"]] * 6})
    raw = RawTables(events, users=Dataset.from_dict(USERS), origin="events.csv")
    section = DataSection(source="files", split={"by": "random"})
    with pytest.raises(DataError, match="do not say whose they are"):
        prepare(raw, Wanted(user_columns=("age",)), section, 13)


@pytest.mark.parametrize("kept", [[True, False], ["True", "False"], ["true", "false"]])
def test_true_and_false_are_the_same_words_whether_a_file_keeps_them_as_values_or_text(kept: list[Any]) -> None:
    data = prepared({"user": ["7", "8"], "member": kept}, "member")
    assert data.users is not None and data.users.words(np.arange(2)) == [("true",), ("false",)]
    assert users_of_requests([{"member": kept[0]}], ("member",)).words(np.arange(1)) == [("true",)]


def test_requests_say_what_they_know_of_a_user_and_nothing_else() -> None:
    users = users_of_requests([{"age": 24.0}, None, {"portrait": "Calm."}], ("age", "portrait"))
    assert users.words(np.arange(3)) == [("24", ""), ("", ""), ("", "Calm.")]
    with pytest.raises(DataError, match=r"users, row 2: no column 'agee'.*Did you mean 'age'\?"):
        users_of_requests([None, {"agee": 3}], ("age",))

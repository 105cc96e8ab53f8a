"""Each kind of leak is detected in the rows where it was planted; clean data have no findings."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.config.recipe import SplitSection
from lorarec.data.audit import audit, audit_lines
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.errors import LorarecError

CLEAN = {"user": [0, 0, 0, 1, 1, 1], "item": [0, 1, 2, 1, 2, 3], "time": [1.0, 2, 3, 1, 4, 5]}
PARTS = [Part.TRAIN, Part.VALIDATION, Part.TEST] * 2


def findings(
    by: str = "last",
    scope: Any = "past",
    parts: Any = PARTS,
    users: int | None = None,
    disjoint: Any = (),
    **columns: Any,
) -> dict[str, tuple[int, str]]:
    """Rows and message of each finding in the clean table, with some columns replaced."""
    given = {name: columns.get(name, values) for name, values in CLEAN.items()} | columns
    table = pa.table({name: pa.array(values) for name, values in given.items() if values is not None})
    names = [str(user) for user in range(users or 4)]
    interactions = Interactions(Dataset(table), names, np.array(parts, np.int8))
    histories = Histories.of(interactions, scope, None, 0.5, "column" if scope == "training" else by)  # type: ignore[arg-type]
    section = SplitSection(by=by, disjoint=disjoint)  # type: ignore[arg-type]
    return {finding.kind: (finding.rows, finding.message) for finding in audit(interactions, histories, section)}


def test_clean_data_have_no_findings() -> None:
    assert findings() == {}
    assert "no leaks" in audit_lines([])[0]


def test_future_events_in_a_history() -> None:
    # All of a user's training events, whatever their time: row 1 has row 2 in its history, row 4 has row 5.
    parts = [Part.TEST, Part.TRAIN, Part.TRAIN, Part.TRAIN, Part.TEST, Part.TRAIN]
    rows, message = findings(by="column", scope="training", parts=parts)["future in a history"]
    assert (rows, "row") == (4, "row")  # row 3 is in the history of row 2, too, and row 6 in that of row 4
    assert "rows 1, 2, 4, ..." in message and "scope=past" in message


def test_a_test_row_in_training() -> None:
    again = {"user": [0, 0, 0, 1, 1, 1], "item": [0, 0, 2, 1, 2, 3], "time": [1.0, 1, 3, 1, 4, 5]}
    rows, message = findings(by="random", **again)["held-out row in training"]
    assert rows == 1 and "(row 2)" in message


def test_the_same_pair_at_another_time_is_another_event() -> None:
    again = {"item": [0, 0, 2, 1, 2, 3], "time": [1.0, 2, 3, 1, 4, 5]}
    assert findings(**again) == {}
    assert "held-out row in training" in findings(by="random", **{**again, "time": None})


def test_rows_with_different_histories_of_their_own_are_not_duplicates() -> None:
    same = {"user": range(6), "item": [3] * 6, "time": None, "history": [[0], [1], [0], [2], [1, 0], [2, 1]]}
    assert findings(by="column", users=6, **same)["held-out row in training"][1].startswith("1 rows of")
    different = {**same, "history": [[0], [1], [0, 1], [2], [1, 0], [2, 1]]}
    assert findings(by="column", users=6, **different) == {}


def test_a_history_that_holds_the_target() -> None:
    rows = {"user": range(6), "time": None, "history": [[3], [1], [0], [3], [3, 2], [2]]}
    count, message = findings(by="column", users=6, **rows)["target in its history"]
    assert count == 2 and "(rows 2, 5)" in message


def test_a_training_history_that_holds_a_held_out_target() -> None:
    # User 0's training row comes after the test row 3 and has its item 2 in the history; user 1's has another user's.
    rows = {"time": None, "history": [[1, 2], [3], [3], [2, 0], [0], [0]]}
    parts = [Part.TRAIN, Part.UNUSED, Part.TEST, Part.TRAIN, Part.UNUSED, Part.TEST]
    count, message = findings(by="column", parts=parts, **rows)["held-out target in a training history"]
    assert count == 1 and "(row 3)" in message


def test_items_that_are_only_in_training_histories_overlap_with_held_out_items() -> None:
    parts = [Part.TRAIN, Part.TEST, Part.UNUSED, Part.TRAIN, Part.UNUSED, Part.UNUSED]
    columns = {"user": [0, 2, 1, 1, 1, 1], "item": [0, 4, 2, 1, 2, 3], "time": None}
    histories = {"history": [[2], [0], [0], [4], [0], [0]]}
    broken = findings(by="column", parts=parts, disjoint=["item"], **columns, **histories)
    assert list(broken) == ["item overlap"] and "(row 2)" in broken["item overlap"][1]


@pytest.mark.parametrize(("whose", "row"), [("user", 3), ("item", 2)])
def test_overlap_that_the_split_excludes(whose: str, row: int) -> None:
    parts = [Part.TRAIN, Part.TEST, Part.UNUSED, Part.TRAIN, Part.UNUSED, Part.UNUSED]
    columns = {"user": [0, 2, 1, 1, 1, 1], "item": [0, 4, 2, 1, 2, 3]}
    assert findings(by="column", parts=parts, disjoint=["user", "item"], **columns) == {}
    columns[whose][1] = columns[whose][0]
    broken = findings(by="column", parts=parts, disjoint=[whose], **columns)
    assert list(broken) == [f"{whose} overlap"] and "(row 2)" in broken[f"{whose} overlap"][1]
    assert f"{whose} overlap" not in findings(by="column", parts=parts, **columns)


def test_ties_in_time_that_decide_a_target() -> None:
    rows, message = findings(time=[1.0, 3, 3, 1, 4, 5])["tie decides a target"]
    assert rows == 2 and "(rows 2, 3)" in message
    assert findings(time=[1.0, 1, 3, 1, 4, 5])["tie decides a target"][0] == 1, "row 1 is of training"


def test_duplicates_within_a_part() -> None:
    parts = [Part.TRAIN] * 4 + [Part.VALIDATION, Part.TEST]
    columns = {"item": [0, 1, 1, 1, 2, 3], "time": [1.0, 2, 2, 1, 4, 5]}
    rows, message = findings(by="column", parts=parts, **columns)["duplicate"]
    assert rows == 1 and "(row 3)" in message


def test_a_split_that_cannot_be_disjoint_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        SplitSection(by="last", disjoint=("user",))
    assert LorarecError

"""Requests to a finished run: files that cannot be read, invalid rows, unknown ids."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WITH_HISTORY = "item,history\ni1,i2|i3\n"
UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "another format": ("rows.txt", b"item\ni1\n", "files of this kind are not read. Rename a text file with"),
    "empty": ("rows.csv", b"", "the file is empty. Line 1 must name the columns."),
    "no rows": ("rows.csv", b"item,history\n", "rows.csv has no rows"),
    "only a header, without a line end": ("rows.csv", b"item,history", "rows.csv has no rows"),
    "short row": ("rows.csv", b"item,history\ni1,i2\ni3\n", "rows.csv, line 3: 1 fields, but line 1 names 2 columns"),
    "not UTF-8": ("rows.csv", b"item\n\xff\n", "line 2: byte 0xff at position 1 is not UTF-8"),
    "broken line": ("rows.jsonl", b'{"item": "i1"\n', "rows.jsonl, line 1, column 13: not JSON"),
    "broken parquet": ("rows.parquet", b"PAR1", "not a readable parquet file"),
    "column twice": ("rows.csv", b"item,item\ni1,i2\n", "the column 'item' appears twice"),
    "no item": ("rows.csv", b"itm,history\ni1,i2\n", "no column 'item'. Did you mean 'itm'? Columns: itm, history."),
    "empty id": ("rows.csv", b"item,history\ni1,i2\n,i3\n", "column 'item', row 2: the id is empty"),
    "empty id in a history": ("rows.csv", b"item,history\ni1,i2||i3\n", "column 'history', row 1: the id is empty"),
    "null in a history": ("rows.jsonl", b'{"item": "i1", "history": ["i2", null]}\n', "row 1: the id is missing"),
    "no list": ("rows.csv", b'item,history\ni1,"[i2"\n', "row 1: '[i2' is not a list of ids"),
    "score already": ("rows.csv", b"item,score\ni1,3\n", "rows.csv already has a column 'score'. Rename it"),
    "words for numbers": ("rows.csv", b"item,history,history_feedback\ni1,i2|i3,1|x\n", "row 1: 'x' is"),
    "infinite": ("rows.csv", b"item,history,history_feedback\ni1,i2|i3,1|inf\n", "row 1: 'inf' is not a finite"),
    "lengths": ("rows.csv", b"item,history,history_feedback\ni1,i2,1\ni1,i2|i3,1\n", "row 2: 1 number for a"),
}  # fmt: skip


def rows(path: str) -> list[dict[str, str]]:
    """The answers in a csv file."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_bad_request_file_is_named_with_row_and_column(
    case: str, finished_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    name, content, says = UNREADABLE[case]
    Path(name).write_bytes(content)
    run = finished_run("ctr")
    message = refused("predict", run, "--input", name, "--output", "scores.csv", says=[name, says])
    assert message.startswith(name)


def test_an_output_file_that_cannot_be_written_is_refused(
    finished_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    Path("rows.csv").write_text(WITH_HISTORY)
    Path("folder.csv").mkdir()
    argv = ("predict", finished_run("ctr"), "--input", "rows.csv", "--output")
    refused(*argv, "no/scores.csv", says=["no/scores.csv: there is no folder no. Create it"])
    refused(*argv, "folder.csv", says=["folder.csv is a folder. Name a file"])
    refused(*argv, "scores.xls", says=["'.xls' files are not supported"])
    argv = ("predict", finished_run("ctr"), "--input", "gone.csv", "--output", "scores.csv")
    refused(*argv, says=["There is no file gone.csv."])


@pytest.mark.parametrize("head", ["ctr", "rating", "next_item"])
def test_unknown_ids_are_named_with_what_was_done_about_them(
    head: str, finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.csv").write_text("item,history\ni1,i2|zz\nyy,i1\n")
    result = command("predict", finished_run(head), "--input", "rows.csv", "--output", "scores.csv")
    assert result.code == 0
    assert "1 unknown item to score gets no score: yy." in result.err
    assert "1 unknown item in histories is left out of them: zz." in result.err
    scores = [row["score"] for row in rows("scores.csv")]
    assert float(scores[0]) == float(scores[0]) and scores[1] == ""


def test_unknown_ids_in_histories_are_named_when_recommending(
    finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.jsonl").write_text('{"user": "a", "history": ["zz", "i3"]}\n{"user": "b", "history": []}\n')
    argv = ("recommend", finished_run("next_item"), "--histories", "rows.jsonl", "-k", 3)
    result = command(*argv, "--output", "best.jsonl")
    assert result.code == 0 and "1 unknown item in histories is left out of them: zz." in result.err
    answers = [json.loads(line) for line in Path("best.jsonl").read_text().splitlines()]
    assert [answer["user"] for answer in answers] == ["a"] * 3 + ["b"] * 3
    assert "i3" not in [answer["item"] for answer in answers[:3]]


def test_users_without_their_histories_are_refused_with_what_a_history_is(
    finished_run: Callable[[str], Path], refused: Callable[..., Any]
) -> None:
    Path("users.csv").write_text("user\nanna\n")
    refused(
        "recommend", finished_run("next_item"), "--histories", "users.csv", "--output", "best.csv",
        says=["users.csv: no column 'history'; a run stores no users' histories", "joined by |. Columns: user."],
    )  # fmt: skip


def test_rows_without_a_history_are_scored_as_new_users_with_a_notice(
    finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.csv").write_text("item\ni1\n")
    result = command("predict", finished_run("ctr"), "--input", "rows.csv", "--output", "scores.csv")
    assert result.code == 0 and "has no column 'history': every row is scored as that of a new user" in result.err


def test_histories_without_feedback_are_read_as_liked_with_a_notice(
    finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.csv").write_text("item,history\ni1,i2|i3\n")
    result = command("predict", finished_run("ctr"), "--input", "rows.csv", "--output", "scores.csv")
    assert result.code == 0 and "1 of 1 histories come without feedback (history_feedback)" in result.err


def test_fewer_items_than_requested_are_returned_with_a_notice(
    finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.csv").write_text("history\ni2\n")
    argv = ("recommend", finished_run("next_item"), "--histories", "rows.csv", "-k", 100)
    result = command(*argv, "--output", "best.csv")
    assert result.code == 0 and "fewer than 100 items" in result.err
    assert len(rows("best.csv")) == 29


@pytest.mark.parametrize("k", [0, -1, "x"])
def test_an_invalid_number_of_items_is_refused(
    k: object, finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.csv").write_text("history\ni2\n")
    argv = ("recommend", finished_run("ctr"), "--histories", "rows.csv", "-k", k)
    result = command(*argv, "--output", "best.csv")
    assert result.code == 2 and "'-k'" in result.err and not Path("best.csv").exists()


def test_a_file_without_histories_is_refused_when_recommending(
    finished_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    Path("rows.csv").write_text("hist\ni2\n")
    argv = ("recommend", finished_run("ctr"), "--histories", "rows.csv", "--output", "best.csv")
    refused(*argv, says=["rows.csv: no column 'history'. Did you mean 'hist'? Columns: hist."])


def test_whole_numbers_stored_as_floats_are_read_as_whole_ids(
    finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    requests = pa.table({"item": ["i1"], "history": pa.array([[2.0, 3.0]])})
    pq.write_table(requests, "rows.parquet")
    result = command("predict", finished_run("ctr"), "--input", "rows.parquet", "--output", "scores.parquet")
    assert result.code == 0 and "left out of them: 2, 3." in result.err
    assert pq.read_table("scores.parquet").column_names == ["item", "history", "score"]


def test_answers_are_not_written_over_the_requests(
    finished_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    Path("rows.csv").write_text(WITH_HISTORY)
    Path("link.csv").symlink_to("rows.csv")
    for name in ("rows.csv", "link.csv"):
        argv = ("predict", finished_run("ctr"), "--input", "rows.csv", "--output", name)
        refused(*argv, says=[f"{name} is the file of the requests itself"])
    assert Path("rows.csv").read_text() == WITH_HISTORY


def test_csv_answers_can_be_written_without_formulas(
    finished_run: Callable[[str], Path], refused: Callable[..., str], command: Callable[..., Any]
) -> None:
    Path("rows.csv").write_text("item,history,note\ni1,i2|i3,=1+2\n=x,-5,-5\n")
    run = finished_run("ctr")
    argv = ("predict", run, "--input", "rows.csv", "--output")
    assert command(*argv, "plain.csv").code == 0
    assert command(*argv, "safe.csv", "--safe-csv").code == 0
    assert [row["note"] for row in rows("plain.csv")] == ["=1+2", "-5"]
    assert [(row["item"], row["history"], row["note"]) for row in rows("safe.csv")] == [
        ("i1", "i2|i3", "'=1+2"),
        ("'=x", "-5", "-5"),
    ]
    assert [row["score"] for row in rows("safe.csv")] == [row["score"] for row in rows("plain.csv")]
    refused(*argv, "safe.jsonl", "--safe-csv", says=["--safe-csv does nothing for .jsonl files"])


def test_an_unknown_id_of_any_length_is_named_in_one_short_line(
    finished_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    Path("rows.jsonl").write_text(json.dumps({"item": "y" * 10_000, "history": []}))
    result = command("predict", finished_run("ctr"), "--input", "rows.jsonl", "--output", "scores.csv")
    assert result.code == 0
    assert f"1 unknown item to score gets no score: {'y' * 60}...." in result.err

"""The source `instruction`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorarec.contracts import DataError, RawTables
from lorarec_sources.instruction import InstructionSource, Preference, parse_preference

Write = Callable[[dict[str, str | bytes]], Path]


def text(liked: str, disliked: str, target: str, word: str = "movie") -> str:
    return (
        f"User Preference: {liked}\nUser Unpreference: {disliked}\n"
        f'Whether the user will like the target {word} "{target}"?'
    )


def example(liked: str = '"A"', disliked: str = '"B"', target: str = "C", output: str = "Yes.") -> dict[str, str]:
    return {"instruction": "...", "input": text(liked, disliked, target), "output": output}


def load(path: Path, **options: Any) -> RawTables:
    return InstructionSource(InstructionSource.Config(path=str(path), **options)).load()


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **options)
    return str(caught.value)


def test_text_becomes_history_feedback_item_click_and_split(folder: Write) -> None:
    train = [example('"A", "B"', '"C"', "D")]
    test = [example("", '"D"', "A", "No.")]
    tables = load(folder({"train.json": json.dumps(train), "test.json": json.dumps(test)}))
    assert tables.interactions.to_list() == [
        {
            "item": "D",
            "history": ["A", "B", "C"],
            "history_feedback": [1.0, 1.0, 0.0],
            "click": 1,
            "split": "train",
        },
        {"item": "A", "history": ["D"], "history_feedback": [0.0], "click": 0, "split": "test"},
    ]
    assert tables.items is not None and tables.items["title"][:] == ["A", "B", "C", "D"]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (
            text('"Good, the Bad, The"', "", 'Who\'s "Who"?'),
            Preference(["Good, the Bad, The"], [], 'Who\'s "Who"?'),
        ),
        (text('""Weird" Al", "B"', "None.", "C"), Preference(['"Weird" Al', "B"], [], "C")),
        (
            text('"T" written by Donna, Ph.D., "U, "V"" written by X', "", '"W" written by Y', "book"),
            Preference(["T written by Donna, Ph.D.", 'U, "V" written by X'], [], "W written by Y"),
        ),
    ],
)
def test_quotes_commas_and_authors_are_parsed(written: str, wanted: Preference) -> None:
    assert parse_preference(written) == wanted


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({**example(), "input": "Tell me a joke"}, "input 'Tell me a joke' is not of the form"),
        (example(liked="A and B"), "is not of the form"),
        (example(liked='"A", ""'), "is not of the form"),
        (example(output="Maybe."), "output 'Maybe.' is neither 'Yes.' nor 'No.'"),
        ({"output": "Yes."}, "the field 'input' is missing"),
        ({"input": text("", "", "C")}, "the field 'output' is missing"),
    ],
)
def test_a_row_that_does_not_parse_is_named(row: dict[str, str], wanted: str, folder: Write) -> None:
    message = refusal(folder({"train.json": json.dumps([example(), row])}))
    assert "train.json, row 2: " in message
    assert wanted in message


def test_a_folder_without_training_rows_is_refused(folder: Write) -> None:
    assert "there is no train.json here" in refusal(folder({"valid.json": "[]"}))


def rows_file(path: Path, liked: list[int]) -> None:
    table = {
        "user_id": [7], "history_item_id": [[11, 12]], "history_liked": [liked], "item_id": [13],
        "liked": [1], "timestamp": [5],
    }  # fmt: skip
    pq.write_table(pa.table(table), path / "rows.parquet")


def test_rows_give_ids_and_the_order_in_time(folder: Write) -> None:
    path = folder({"train.json": json.dumps([example()])})
    rows_file(path, [0, 1])
    tables = load(path, rows=True)
    (row,) = tables.interactions.to_list()
    assert (row["user_id"], row["item_id"], row["timestamp"]) == (7, 13, 5)
    assert (row["history"], row["history_feedback"], row["click"]) == ([11, 12], [0.0, 1.0], 1)
    assert tables.items is not None
    assert {item["item_id"]: item["title"] for item in tables.items.to_list()} == {11: "B", 12: "A", 13: "C"}


def test_rows_that_disagree_with_the_text_are_refused(folder: Write) -> None:
    path = folder({"train.json": json.dumps([example()])})
    assert "rows.parquet: there is no such file" in refusal(path, rows=True)
    rows_file(path, [1, 1])
    assert "row 1: 2 liked, 0 disliked" in refusal(path, rows=True)
    folder({"train.json": json.dumps([example(), example()])})
    assert "1 rows, but the JSON files next to it have 2" in refusal(path, rows=True)


def test_titles_give_name_and_year(folder: Write) -> None:
    titled = example('"Godfather, The (1972)"', '"B"', "C")
    items = load(folder({"train.json": json.dumps([titled])})).items
    assert items is not None
    parsed = [(row["name"], row["year"]) for row in items.to_list()]
    assert parsed == [
        ("The Godfather", 1972),
        ("B", None),
        ("C", None),
    ]


def test_columns_of_another_table_are_joined_to_the_items_by_title(folder: Write) -> None:
    path = folder({"train.json": json.dumps([example()])})
    more = {"title": ["C", "A", "C"], "genres": [["War"], ["Drama"], ["Comedy"]], "year": [1, 2, 3]}
    pq.write_table(pa.table(more), path / "items.parquet")
    items = load(path, items=str(path / "items.parquet")).items
    assert items is not None
    assert {row["title"]: row["genres"] for row in items.to_list()} == {"A": ["Drama"], "B": None, "C": ["War"]}
    assert items["year"][:] == [None] * 3  # the year in the title has precedence


def test_a_table_of_other_items_is_refused(folder: Write) -> None:
    path = folder({"train.json": json.dumps([example()])})
    for column, message in (("titel", "Did you mean 'titel'"), ("title", "none of the items is in its column")):
        pq.write_table(pa.table({column: ["Z"]}), path / "items.parquet")
        assert message in refusal(path, items=str(path / "items.parquet"))


def test_all_of_tallrecs_movies_agree_with_their_ids(real: Callable[[str], Path]) -> None:
    path = real("tallrec-movie")
    written, ids = (
        load(path),
        load(path, rows=True),
    )  # rows=True checks counts, answers and titles of each row
    assert len(written.interactions) == len(ids.interactions) == 10_000
    assert ids.items is not None
    titles = {item["item_id"]: item["title"] for item in ids.items.to_list()}
    for one, other in zip(written.interactions.to_list(), ids.interactions.to_list(), strict=True):
        parsed = sorted(zip(one["history"], one["history_feedback"], strict=True))
        named = [titles[item] for item in other["history"]]
        assert parsed == sorted(zip(named, other["history_feedback"], strict=True))
        assert (one["item"], one["click"], one["split"]) == (
            titles[other["item_id"]],
            other["click"],
            other["split"],
        )

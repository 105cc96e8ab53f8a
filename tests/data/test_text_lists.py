"""Lists that a table holds as text, in training data and in requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.data import ordering
from lorarec.data.raw_tables import RawTables, number_tables
from lorarec.data.text_lists import ROW, separator_of, text_lists
from lorarec.errors import DataError
from lorarec.inference.request_files import read_requests, requests_in

IDS = [pa.array(["i1", "i2", "007"])]
FORMS = [
    "i1|007",
    "i1 | 007",
    "i1 007",
    "i1,007",
    "i1; 007",
    '["i1", "007"]',
    "['i1', '007']",
    "['i1' '007']",
    "[i1, 007]",
    "[i1 007]",
]


def lists(texts: list[Any], ids: list[pa.Array] = IDS) -> list[list[str] | None]:
    column = pa.chunked_array([pa.array(texts, pa.string())])
    read: list[list[str] | None] = text_lists(column, "f, column 'h'", separator_of(column, ids)).to_pylist()
    return read


@pytest.mark.parametrize("text", FORMS)
def test_every_way_to_write_a_list_gives_the_same_ids(text: str, tmp_path: Path) -> None:
    assert lists([text, "", "i2", None]) == [["i1", "007"], [], ["i2"], None]
    events = {"item": ["i1", "i2"], "history": [text, ""]}
    made = number_tables(RawTables(Dataset.from_dict(events), origin="f.csv"))
    assert made.catalog.ids == ["i1", "i2", "007"] and made.table["history"][:] == [[0, 2], []]
    (tmp_path / "r.tsv").write_text(f"item\thistory\ni1\t{text}\ni2\t\n")
    read = requests_in(read_requests(tmp_path / "r.tsv")[0], tmp_path / "r.tsv", [], IDS)
    assert read.histories == [["i1", "007"], []]


def test_long_columns_are_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["i1|i2", "['i2', 'i3']", "", "i3|i1", "i1", "['i4']", "i2|i1"]
    table = Dataset(pa.table({"item": ["i1"] * len(texts), "history": texts}))

    def numbered() -> tuple[Any, ...]:
        read = number_tables(RawTables(table, origin="f"))
        return read.table["history"][:], read.catalog.ids, read.notes

    whole = numbered()
    monkeypatch.setattr(ordering, "BLOCK", 2 * ROW)
    assert numbered() == whole
    assert whole[0][3] == [2, 0] and whole[1] == ["i1", "i2", "i3", "i4"]
    table = Dataset(pa.table({"item": ["i1"] * len(texts), "history": [*texts[:-1], "[{}]"]}))
    with pytest.raises(DataError, match=r"row 7: '\[{}]' is not a list"):
        numbered()
    table = Dataset(pa.table({"item": ["i1"] * len(texts), "history": [*texts[:-1], None]}))
    with pytest.raises(DataError, match="row 7: no list"):
        numbered()


def test_ids_are_not_split_by_what_they_contain() -> None:
    titles = [pa.array(["Toy Story", "Heat, 2"])]
    assert lists(["Toy Story", "Heat, 2"], titles) == [["Toy Story"], ["Heat, 2"]]
    assert lists(["Toy Story;Heat, 2"], titles) == [["Toy Story", "Heat, 2"]]
    assert lists(['["Toy Story", "Wait ... what"]'], titles) == [["Toy Story", "Wait ... what"]]


@pytest.mark.parametrize("text", ["[i1", "[[1], [2]]", '[{"a": 1}]', "[1 2 ... 9]", "[" * 5000, "[true]x"])
def test_what_is_no_list_is_refused_by_row(text: str) -> None:
    with pytest.raises(DataError, match=r"row 2: '.*' is not a list of ids") as caught:
        lists(["i1", text])
    assert len(str(caught.value)) < 300


def test_feedback_is_text_as_the_history_is() -> None:
    events = {"item": ["a", "b"], "history": ["b|c", "['a', 'c', 'b']"], "history_feedback": ["5|2.5", "[1, null, 3]"]}
    made = number_tables(RawTables(Dataset.from_dict(events), origin="f.csv"))
    (one, two) = made.table["history_feedback"][:]
    assert one == [5, 2.5] and two[0] == 1 and two[1] != two[1] and two[2] == 3
    with pytest.raises(DataError, match="'history_feedback', row 1: 1 numbers for a history of 2 events"):
        number_tables(RawTables(Dataset.from_dict({**events, "history_feedback": ["5", "1"]}), origin="f.csv"))


def test_histories_of_one_item_may_be_numbers() -> None:
    made = number_tables(RawTables(Dataset.from_dict({"item": [7, 8], "history": [8, None]}), origin="f.csv"))
    assert made.table["history"][:] == [[1], []]


def test_the_separator_is_named_in_the_report() -> None:
    made = number_tables(RawTables(Dataset.from_dict({"item": ["a", "b"], "history": ["b a", ""]}), origin="f.csv"))
    assert made.notes == ("f.csv, column 'history': items are separated by blanks (detected)",)

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
    with pytest.raises(DataError, match="'history_feedback', row 1: 1 number for a history of 2 events"):
        number_tables(RawTables(Dataset.from_dict({**events, "history_feedback": ["5", "1"]}), origin="f.csv"))


@pytest.mark.parametrize("clicks", [["yes|no", "['no', 'YES', None]"], [[True, False], [False, True, None]]])
def test_feedback_may_be_clicks_in_words(clicks: list[Any]) -> None:
    events = {"item": ["a", "b"], "history": ["b|c", "a|c|b"], "history_feedback": clicks}
    (one, two) = number_tables(RawTables(Dataset.from_dict(events), origin="f.csv")).table["history_feedback"][:]
    assert one == [1, 0] and two[:2] == [0, 1] and two[2] != two[2]


def test_histories_of_one_item_may_be_numbers() -> None:
    made = number_tables(RawTables(Dataset.from_dict({"item": [7, 8], "history": [8, None]}), origin="f.csv"))
    assert made.table["history"][:] == [[1], []]


def test_the_separator_is_named_in_the_report() -> None:
    made = number_tables(RawTables(Dataset.from_dict({"item": ["a", "b"], "history": ["b a", ""]}), origin="f.csv"))
    assert made.notes == ("f.csv, column 'history': items are separated by blanks (detected)",)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
def test_an_id_with_a_point_zero_is_the_number_of_the_items_whatever_other_ids_there_are(kind: pa.DataType) -> None:
    items = pa.array([2, 7], kind)
    for texts, ids in (
        (["2.0|007", "7"], ["2", "7", "007"]),
        (["2.0|7.00", "x1.0|0.0"], ["2", "7", "x1.0", "0"]),
        ([["2.0", "007"], ["10.0"]], ["2", "7", "007", "10"]),
        (["2.0", "10.0"], ["2", "7", "10"]),
    ):
        table = Dataset(pa.table({"item": items, "history": texts}))
        assert number_tables(RawTables(table, origin="f.csv")).catalog.ids == ids
    table = Dataset(pa.table({"item": items, "history": ["2.0", "2.5"]}))
    with pytest.raises(DataError, match=r"'history', row 2: 2\.5 is not a valid id"):
        number_tables(RawTables(table, origin="f.csv"))


def test_a_column_of_single_ids_that_became_floats_is_whole_numbers_or_refused_by_row() -> None:
    items = ["123456789012345", "2"]
    table = Dataset(pa.table({"item": items, "history": pa.array([123456789012345.0, None])}))
    made = number_tables(RawTables(table, origin="f.csv"))
    assert made.catalog.ids == items and made.table["history"][:] == [[0], []]
    for kind, limit in ((pa.float32(), 2**24), (pa.float64(), 2**53)):
        table = Dataset(pa.table({"item": items, "history": pa.array([None, float(limit)], kind)}))
        with pytest.raises(DataError, match="'history', row 2: digits of the id are lost"):
            number_tables(RawTables(table, origin="f.csv"))


def test_a_decimal_comma_that_is_set_separates_no_feedback() -> None:
    events = {"item": ["a", "b"], "history": ["b", "a"], "history_feedback": ["4,5", "3,0"]}
    made = number_tables(RawTables(Dataset.from_dict(events), origin="f.csv", decimal=","))
    assert made.table["history_feedback"][:] == [[4.5], [3.0]]


@pytest.mark.parametrize("feedback", [[4.125, None], ["[4.125]", ""]])
def test_feedback_in_numbers_of_training_data_stays_as_it_is_whatever_the_decimal_mark(feedback: list[Any]) -> None:
    rows = Dataset.from_dict({"item": ["i1", "i2"], "history": ["i2", ""], "history_feedback": feedback})
    made = number_tables(RawTables(rows, origin="f.csv", decimal=","))
    assert made.table["history_feedback"][:] == [[4.125], []]

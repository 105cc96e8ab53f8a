"""Unknown ids are named, with the run's own spelling of the same number."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.contracts import Catalog, DataError
from lorarec.inference.answer_files import write_answers
from lorarec.inference.request_files import id_column, list_column, read_requests
from lorarec.inference.requests import UnknownIdWarning, item_rows, requests_of


def test_an_unknown_number_is_named_with_the_spelling_that_the_run_has() -> None:
    catalog = Catalog(Dataset.from_dict({"item": ["007", "12"], "title": ["a", "b"], "text": ["a", "b"]}))
    with pytest.warns(UnknownIdWarning, match=r"2 unknown .*: 7 \(the run has '007': ids are text\), 8\.$"):
        assert item_rows(["12", "7", "8"], catalog).tolist() == [1, -1, -1]


@pytest.mark.parametrize(
    ("asked", "known"), [("sku-1", "SKU-1"), (" SKU-1 ", "SKU-1"), ("b2", "B2 "), ("\uff33KU-1", "SKU-1")]
)
def test_an_unknown_id_is_named_with_the_one_that_differs_in_capitals_or_blanks(asked: str, known: str) -> None:
    catalog = Catalog(Dataset.from_dict({name: ["SKU-1", "B2 "] for name in ("item", "title", "text")}))
    with pytest.warns(UnknownIdWarning, match=rf"{asked} \(the run has '{known}': ids are text\)\.$"):
        item_rows([asked], catalog)


def test_histories_that_are_empty_without_unknown_items_are_counted() -> None:
    catalog = Catalog(Dataset.from_dict({name: ["a", "b"] for name in ("item", "title", "text")}))

    def warned(*histories: list[str]) -> str:
        with pytest.warns(UnknownIdWarning) as caught:
            requests_of(len(histories), histories, None, None, catalog=catalog, liked_above=0.5, user_columns=())
        return str(caught[0].message)

    message = "2 unknown items in histories are left out of them: x, y."
    left = " 2 of 3 histories are empty without them: their answers are those of a new user."
    assert warned(["x", "a"], ["y"], ["x", "y"]) == message + left
    assert warned(["x", "a", "y"]) == message


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_whole_number_is_the_same_id_with_and_without_a_point_whatever_else_is_asked(
    suffix: str, tmp_path: Path
) -> None:
    catalog = Catalog(Dataset.from_dict({name: ["5", "6.0", "007", "1.5"] for name in ("item", "title", "text")}))
    asked_rows = ((["5.0", "6", "5.00"], [0, 1, 0]), (["5", "6.0", "1.5"], [0, 1, 3]), (["5.0", "007"], [0, 2]))
    for asked, rows in asked_rows:
        path = tmp_path / f"asked.{suffix}"
        write_answers(path, {"item": asked, "history": [[item, *asked] for item in asked]})
        table, _ = read_requests(path)
        assert item_rows(id_column(table, "item", path), catalog).tolist() == rows
        histories, _ = list_column(table, "history", path)
        assert [item_rows(history, catalog).tolist() for history in histories] == [[row, *rows] for row in rows]
    with pytest.warns(UnknownIdWarning, match=r"4 unknown items to score get no score: 7\.0 .*, 1\.50, x, x\.0\."):
        assert item_rows(["7.0", "1.50", "x", "x.0"], catalog).tolist() == [-1] * 4


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_answers_are_read_as_they_were_written(suffix: str, tmp_path: Path) -> None:
    path, titles = tmp_path / f"answers.{suffix}", ['say "no"', "a, b", "'x'", ""]
    write_answers(path, {"item": ["007", "NA", "1e5", "a|b"], "title": titles, "score": [0.25, 1e-7, 3.0, 1e20]})
    table, _ = read_requests(path)
    assert id_column(table, "item", path) == ["007", "NA", "1e5", "a|b"]
    assert table.column("title").to_pylist() == titles
    assert [float(score) for score in table.column("score").to_pylist()] == [0.25, 1e-7, 3.0, 1e20]


def test_a_text_that_a_tsv_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'title': 'a.tb' has a tab or line end.* Use \.csv"):
        write_answers(tmp_path / "a.tsv", {"title": ["a\tb"]})
    with pytest.raises(DataError, match=r"column 'a.tb': 'a.tb' has a tab"):
        write_answers(tmp_path / "a.tsv", {"a\tb": [1.5]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "limit"), [(pa.float16(), 2**11), (pa.float32(), 2**24), (pa.float64(), 2**53)])
def test_a_history_of_floats_that_were_rounded_is_refused_by_row(kind: pa.DataType, limit: int, tmp_path: Path) -> None:
    path = tmp_path / "asked.parquet"
    lists = pa.array([[5.0], [7.0, float(limit)]], pa.list_(kind))
    write_answers(path, {"history": lists})
    with pytest.raises(DataError, match="column 'history', row 2: digits of the id are lost"):
        list_column(read_requests(path)[0], "history", path)
    write_answers(path, {"history": pa.array([5.0, None, float(limit)], kind)})
    with pytest.raises(DataError, match="column 'history', row 3: digits of the id are lost"):
        list_column(read_requests(path)[0], "history", path)
    write_answers(path, {"history": lists.slice(0, 1)})
    assert list_column(read_requests(path)[0], "history", path)[0] == [["5"]]

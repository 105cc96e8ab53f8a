"""Requests in files may be written as the training data is: its columns' names, separator, encoding, decimal mark."""

from __future__ import annotations

import codecs
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.contracts import Catalog, ReadOptions
from lorarec.data import numbers
from lorarec.errors import DataError
from lorarec.inference import request_format
from lorarec.inference.arguments import feedback_of
from lorarec.inference.request_files import FileRequests, id_column, read_requests, requests_in
from lorarec.inference.request_format import USUAL, RequestFormat
from lorarec.pipeline import assemble
from lorarec.pipeline.assemble import open_recipe
from lorarec.pipeline.assemble import request_format as assembled_format

COMMA = ReadOptions(decimal=",")
OWN = {"item": "sku", "history": "bought", "history_feedback": "stars", "user": "customer"}


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    def read(content: bytes | str, name: str = "asked.csv", **given: Any) -> tuple[list[str], FileRequests]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        form = RequestFormat(given.pop("columns", {}), missing=given.pop("missing", ()), options=ReadOptions(**given))
        table, how = read_requests(path, form)
        ids = [pa.array(["i1", "i2", "é9"])]
        requests = requests_in(table, path, [], ids, form)
        items = id_column(table, form.names(table.column_names)["item"], path)
        return items, requests._replace(notices=[*how, *requests.notices])

    return read


def test_columns_may_have_the_names_of_the_training_data_or_lorarecs(ask: Any) -> None:
    for header in ("sku,bought,stars", "item,history,history_feedback", "sku,history,stars"):
        items, requests = ask(f"{header}\ni1,i2|i1,5|3\n", columns=OWN)
        assert (items, requests.histories, requests.feedback) == (["i1"], [["i2", "i1"]], [[5.0, 3.0]])
    assert ask("item,sku\nx,i1\n", columns=OWN)[0] == ["i1"], "as in training"
    with pytest.raises(DataError, match=r"no column 'item'.*Columns: bought\."):
        ask("bought\ni1\n", columns=OWN)


def test_a_missing_column_is_named_by_what_it_may_be_called() -> None:
    names = ["User", "History", "Article"]
    message = str(RequestFormat({"item": "article"}).lacking("item", names, "a.csv"))
    assert message.startswith("a.csv: no column 'article' or 'item' (the training data's names are read as well).")
    assert message.endswith("Did you mean 'Article'? Columns: User, History, Article.")
    assert "no column 'history'. Did you mean 'History'?" in str(USUAL.lacking("history", names, "a.csv"))
    message = str(RequestFormat(item_id="sku").lacking("item", ["x"], "a.csv"))
    assert message.startswith("a.csv: no column 'item' or 'sku' (") and "mean" not in message


def test_tables_in_python_may_too() -> None:
    frame = pd.DataFrame({"sku": ["i1"], "bought": [["i2"]]})
    named = RequestFormat(OWN).named(frame)
    assert list(named["item"]) == ["i1"] and list(named["history"]) == [["i2"]]
    assert USUAL.named(frame) is frame and RequestFormat(OWN).named(["i1"]) == ["i1"]


def test_the_item_tables_id_is_read_only_where_no_other_column_is_that_of_items() -> None:
    for columns, header, item in (
        ({}, ["id", "item", "history"], "item"),
        ({"item": "sku"}, ["id", "sku"], "sku"),
        ({"item": "id"}, ["id", "item"], "id"),
        ({"item": "sku"}, ["id", "item"], "item"),
        ({"item": "sku"}, ["id", "history"], "id"),
        ({}, ["number", "history"], "item"),
    ):
        assert RequestFormat(columns, item_id="id").names(header)["item"] == item, (columns, header)
    resolved, catalog = MagicMock(), MagicMock()
    resolved.recipe.data.columns, catalog.declared.id_column = {"history": "bought"}, "id"
    names = assemble.request_format(resolved, catalog).names(["id", "item", "history", "bought"])
    assert (names["item"], names["history"]) == ("item", "bought")
    frame = pd.DataFrame({"id": ["i1"], "history": [["i2"]]})
    assert list(RequestFormat(item_id="id").named(frame)["item"]) == ["i1"]


def test_an_encoding_of_the_training_data_reads_what_is_no_utf8(ask: Any) -> None:
    text = "item,history\né9,i2\n"
    items, requests = ask(text.encode("cp1252"), encoding="cp1252")
    assert items == ["é9"] and any("not UTF-8; read as cp1252" in notice for notice in requests.notices)
    for content in (text.encode(), codecs.BOM_UTF8 + text.encode(), text.encode("utf-16")):
        assert ask(content, encoding="cp1252")[0] == ["é9"]
    with pytest.raises(DataError, match=r"asked\.csv, line 2: byte 0xe9"):
        ask(text.encode("cp1252"))


def test_the_encoding_of_a_file_is_detected_once(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    detected: list[Path] = []
    monkeypatch.setattr(request_format, "is_utf8", lambda path: bool(detected.append(path)))
    ask("item,history\né9,i2\n".encode("cp1252"), encoding="cp1252")
    assert len(detected) == 1


def test_a_separator_of_the_training_data_is_that_of_requests_with_it_in_line_1(ask: Any) -> None:
    for written, trained in (("^", "^"), (";", "^"), ("~", "~"), (",", ","), ("\t", ",")):
        items, requests = ask(f"item{written}history\ni1{written}i1|i2\n", sep=trained)
        assert items == ["i1"] and requests.histories == [["i1", "i2"]]
    assert ask(b'[{"item": "i1"}]', "asked.json", sep="^", decimal=",")[0] == ["i1"]


@pytest.mark.parametrize(
    ("text", "decimal", "numbers"),
    [
        ("4,5|3,0", None, [4.5, 3.0]),
        ("4.5|3", None, [4.5, 3.0]),
        ("1.000|2,5", ",", [1000.0, 2.5]),
    ],
)
def test_feedback_is_read_in_the_spellings_of_ratings(
    text: str, decimal: str | None, numbers: list[float], ask: Any
) -> None:
    _, requests = ask(f"item;history;history_feedback\ni1;i1|i2;{text}\n", decimal=decimal)
    assert requests.feedback == [numbers]


def test_a_decimal_comma_that_is_set_separates_no_feedback(ask: Any) -> None:
    content = "item;history;history_feedback\ni1;i1;4,5\ni1;i2;3,0\n"
    assert ask(content, decimal=",")[1].feedback == [[4.5], [3.0]]
    assert ask("item;history;history_feedback\ni1;;\n", decimal=",")[1].feedback == [[]], "no number at all"


@pytest.mark.parametrize("words", ["yes|no", "FALSE|TRUE", "y|n", "n|y"])
def test_clicks_in_feedback_may_be_the_words_of_training(words: str, ask: Any) -> None:
    _, requests = ask(f"item,history,history_feedback\ni1,i1|i2,{words}\ni1,,\n")
    clicks = [float(word.lower() in ("yes", "true", "y")) for word in words.split("|")]
    assert requests.feedback == [clicks, []] and any(" is 1, " in notice for notice in requests.notices)
    assert feedback_of([words.split("|"), []]) == [clicks, []]
    assert feedback_of([[bool(click) for click in clicks]]) == [clicks]
    with pytest.raises(DataError, match=r"row 2: '3', but row 1 says .*Write clicks as one of"):
        ask(f"item,history,history_feedback\ni1,i1|i2,{words}\ni1,i1,3\n")


def test_words_for_missing_values_of_the_training_data_are_missing_feedback(ask: Any) -> None:
    missing = ("k.A.", "0")
    _, requests = ask("item,history,history_feedback\ni1,i1|i2|i2|i1,5|k.A.||0\n", missing=missing)
    for [read] in (requests.feedback, feedback_of([["5", "k.A.", "", 0]], missing=missing)):
        assert read[0] == 5 and np.isnan(read[1:]).all()


@pytest.mark.parametrize("words", [["yes", 4], ["no", True], ["y", np.float32(1)]])
def test_clicks_in_words_and_numbers_are_not_mixed(words: list[Any]) -> None:
    with pytest.raises(DataError, match=r"feedback, row 2: .*, but row 1 says .*Write clicks as one of"):
        feedback_of([words[:1], words[1:]])


def test_words_that_are_numbers_are_compared_as_numbers_in_text_too(ask: Any) -> None:
    _, requests = ask("item,history,history_feedback\ni1,i1|i2,0.0|4\n", missing=("0",))
    for [read] in (
        requests.feedback,
        feedback_of([["0.0", "4"]], missing=("0",)),
        feedback_of([[0.0, 4]], missing="0"),
    ):
        assert np.isnan(read[0]) and read[1] == 4
    assert feedback_of([[True, False]], missing=("0",)) == feedback_of([["yes", "no"]], missing=("0",)) == [[1, 0]]


def test_words_are_not_converted_once_for_each_number(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(numbers, "_as_value", lambda *given: calls.append(given))
    feedback_of([[1.0, 2.0, 3.0]] * 100, missing=("0",))
    assert 0 < len(calls) < 10


def test_blank_feedback_in_a_list_is_missing(ask: Any) -> None:
    _, requests = ask('[{"item": "i1", "history": ["i1", "i2"], "history_feedback": ["4", " "]}]', "asked.json")
    for [read] in (requests.feedback, feedback_of([["4", " "]])):
        assert read[0] == 4 and np.isnan(read[1])


@pytest.mark.parametrize(
    "column", [pa.array([4.125, None]), pa.array([4.125, np.nan]), pa.array([Decimal("4.125"), None])]
)
def test_a_column_of_numbers_stays_as_it_is_whatever_the_decimal_mark(column: pa.Array) -> None:
    table, form = pa.table({"history": ["i1", ""], "history_feedback": column}), RequestFormat(options=COMMA)
    assert requests_in(table, Path("asked.parquet"), [], (), form).feedback == [[4.125], []]


@pytest.mark.parametrize("text", ["[4.125, 3.5e1]", "[4.125 35.]", '["4,125", 35.0]', '[4.125, "35"]'])
def test_numbers_in_brackets_have_a_decimal_point_whatever_the_decimal_mark(text: str, ask: Any) -> None:
    quoted = text.replace('"', '""')
    _, requests = ask(f'item,history,history_feedback\ni1,i1|i2,"{quoted}"\n', decimal=",")
    assert requests.feedback == feedback_of({"history_feedback": [text]}, decimal=",") == [[4.125, 35]]
    with pytest.raises(DataError, match=r"'k\.A\.' is not a number"):
        feedback_of({"history_feedback": ["[k.A., 4]"]}, decimal=",")


def test_columns_of_categories_are_read_as_their_texts() -> None:
    table = pa.table({"history": ["i1|i2", "i2"], "history_feedback": ["4|5", "3"]})
    table = pa.table({name: table[name].dictionary_encode() for name in table.column_names})
    requests = requests_in(table, Path("asked.parquet"), [])
    assert (requests.histories, requests.feedback) == ([["i1", "i2"], ["i2"]], [[4, 5], [3]])


def test_a_runs_requests_have_the_words_of_its_recipe_for_missing_ratings_and_clicks() -> None:
    catalog = Catalog(Dataset.from_dict({name: ["a", "b"] for name in ("item", "title", "text")}))
    for given, words in (("[k.A.]", ["k.A."]), ("{rating: ['0'], time: [x]}", ["0"])):
        resolved = open_recipe("quickstart", [f"data.missing_values={given}"])
        assert list(assembled_format(resolved, catalog).missing) == words


def test_a_bad_value_is_named_with_file_column_and_row(ask: Any) -> None:
    with pytest.raises(DataError, match=r"asked\.csv, column 'stars', row 2: 'x' is not a number"):
        ask("sku,bought,stars\ni1,i2|i1,5|\ni1,i2,x\n", columns=OWN)
    with pytest.raises(DataError, match=r"asked\.csv, column 'sku', row 2: the id is empty"):
        ask("sku,bought\ni1,i2\n,i1\n", columns=OWN)

"""The source `recbole`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorarec.contracts import DataError, RawTables
from lorarec_sources.recbole import RecBoleSource

Write = Callable[[dict[str, str | bytes]], Path]
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tlabel:float\n"
INTER += "007\ta\t4\t5.5\t1\n8\tb\t\t6\t0\n"


def load(path: Path) -> RawTables:
    return RecBoleSource(RecBoleSource.Config(path=str(path))).load()


def test_types_come_from_the_header(folder: Write) -> None:
    tables = load(
        folder(
            {
                "x.inter": INTER,
                "x.item": 'item_id:token\ttitle:token_seq\tvector:float_seq\na\t"Toy Story\t0.5 1\n',
            }
        )
    )
    first, second = tables.interactions.to_list()
    assert first == {"user_id": "007", "item_id": "a", "rating": 4.0, "timestamp": 5.5, "label": 1.0}
    assert second["rating"] is None
    assert tables.items is not None
    assert tables.items.to_list() == [{"item_id": "a", "title": '"Toy Story', "vector": [0.5, 1.0]}]
    assert tables.columns == {
        "user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp", "click": "label",
    }  # fmt: skip
    assert tables.item_text == "{title}" and tables.users is None


def test_a_sequence_of_item_ids_is_the_history(folder: Write) -> None:
    tables = load(folder({"x.inter": "user_id:token\titem_id:token\titem_id_list:token_seq\n1\ta\tb c\n"}))
    assert tables.columns["history"] == "item_id_list"
    assert tables.interactions["item_id_list"][:] == [["b", "c"]]


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"x.inter": "user_id\titem_id:token\n"}, "x.inter, line 1: the field 'user_id' is not name:type"),
        (
            {"x.inter": "user_id:tokens\n"},
            "the field 'user_id:tokens' is not name:type. Did you mean 'token'?",
        ),
        ({"x.inter": "a:token\ta:float\n"}, "line 1: the field 'a' occurs twice"),
        ({"x.inter": ""}, "x.inter: the file is empty"),
        ({"x.inter": INTER + "1\t2\n"}, "x.inter, line 4: 2 fields, but line 1 names 5"),
        (
            {"x.inter": INTER + "1\t2\tgood\t4\t1\n"},
            "x.inter, line 4: field 'rating' is 'good', not a number",
        ),
        ({"x.inter": INTER.encode() + b"\xe9\t2\t1\t4\t1\n"}, "x.inter, line 4: byte 0xe9"),
        ({"x.inter": INTER, "y.inter": INTER}, "several .inter files: x.inter, y.inter"),
        ({"x.item": "a:token\n"}, "no file called NAME.inter"),
    ],
)
def test_damaged_files_are_refused_with_line_and_field(files: dict[str, Any], wanted: str, folder: Write) -> None:
    with pytest.raises(DataError) as caught:
        load(folder(files))
    assert wanted in str(caught.value)

"""HTML in the texts of items: named, and removed by a setting that later items are read by as well."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.data.catalog import Catalog
from lorarec.data.html_text import has_html, without_html
from lorarec.data.raw_tables import NumberedTables, RawTables, number_tables
from lorarec.errors import DataError

CASES = {
    "Tom &amp; Jerry": "Tom & Jerry",
    "<b>Bold</b> title": "Bold title",
    "one<br/>two<p class='x'>three</p>": "one two three",
    "&#39;n&#x27; Roll&nbsp;!": "'n' Roll !",
    "<!-- note -->Up<script>alert(1 < 2)</script>": "Up",
    "&lt;b&gt; is a tag": "<b> is a tag",
    "caf&eacute;": "café",
    "<a title='more > less' href=x>Lamp</a>": "Lamp",
    "one<script type='x'>if (a < b) { '<b>' }</SCRIPT >two<STYLE>p > a {}</style>": "one two",
    "A<BR>B<hr/>C&#0;&#x1F600;": "A BC\ufffd\U0001f600",
    "un<i>closed <b>tags": "unclosed tags",
    "<b>5 < 6 & 7 > 3</b>": "5 < 6 & 7 > 3",
    "&amp;lt; stays &amp;amp;": "&lt; stays &amp;",
    "<![CDATA[Blue <b>shirt</b>]]>": "Blue shirt",
    "<![CDATA[Tom &amp; Jerry]]>": "Tom & Jerry",
    "<p>size<M</p>": "size<M",
    "<p>if i<n then stop</p>": "if i<n then stop",
    "&amp; <![foo]> b": "& <![foo]> b",
    "<b title=it's>mine</b>": "mine",
}
PLAIN = ["R&B; a < b and b > c", "I <3 you", "AT&T", "x<5", "", "a &amp b"]


def made(items: dict[str, list[Any]], **options: Any) -> NumberedTables:
    raw = RawTables(
        Dataset.from_dict({"user": ["a", "b"], "item": items["item"][:2]}), Dataset.from_dict(items),
        item_text="{title} ({tags})", origin="e.csv", items_origin="i.csv",
    )  # fmt: skip
    return number_tables(raw, **options)


ITEMS = {"item": ["<b>1</b>", "2", "3"], "title": ["A &amp; B", None, "C"], "tags": [["x", "<i>y</i>"], [], None]}


@pytest.mark.parametrize("text", CASES)
def test_tags_are_removed_and_entities_decoded(text: str) -> None:
    for kind in (pa.string(), pa.large_string()):
        column = pa.chunked_array([pa.array([text, None], kind)])
        assert has_html(column).tolist() == [True, False]
        assert without_html(column).to_pylist() == [CASES[text], None]


def test_a_long_text_of_tags_that_never_end_is_read_in_a_moment() -> None:
    text = "&amp;" + "<a " * 20_000 + "<!--" * 20_000
    before = time.process_time()
    assert without_html(pa.chunked_array([[text]])).to_pylist()[0].startswith("&<a <a")
    assert time.process_time() - before < 10


@pytest.mark.parametrize("text", PLAIN)
def test_texts_without_html_stay_as_they_are(text: str) -> None:
    column = pa.chunked_array([pa.array([text])])
    assert not has_html(column).any() and without_html(column).to_pylist() == [text]


def test_html_is_counted_with_an_example_and_kept_by_default() -> None:
    numbered = made(ITEMS)
    assert numbered.notes == (
        "i.csv: 1 item has HTML in the text, such as 'A &amp; B': it is read as it is; "
        "data.item_text_html=strip removes tags and decodes entities",
    )
    assert numbered.catalog.texts()[0] == "A &amp; B (x, <i>y</i>)"


def test_html_is_stripped_from_texts_not_from_ids_and_later_items_are_read_the_same_way() -> None:
    numbered = made(ITEMS, html="strip")
    assert numbered.catalog.ids[0] == "<b>1</b>" and numbered.catalog.titles()[0] == "A & B"
    assert numbered.catalog.texts() == ["A & B (x, y)", "2", "C ()"]
    assert "tags are removed" in numbered.notes[0]
    catalog = Catalog.of_arrow(numbered.catalog.arrow())
    later = Dataset.from_dict({"item": ["9"], "title": ["D &gt; E"], "tags": [["<b>z</b>"]]})
    assert catalog.extend(later).texts([3]) == ["D > E (z)"]
    assert Catalog.of_arrow(made(ITEMS).catalog.arrow()).extend(later).texts([3]) == ["D &gt; E (<b>z</b>)"]


def test_strip_without_an_item_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.item_text_html=strip does nothing here"):
        number_tables(RawTables(Dataset.from_dict({"user": [1], "item": [2]}), origin="e.csv"), html="strip")

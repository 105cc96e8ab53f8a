"""The item table: templates of the items' text, their defaults, and empty texts."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset

from lorarec.data.raw_tables import NumberedTables, RawTables, number_tables
from lorarec.errors import DataError

ITEMS: dict[str, list[Any]] = {
    "item": ["a", "b"],
    "title": ["Alien", "Brazil"],
    "genres": [["Horror", "Sci-Fi"], None],
    "year": [1979, 1985],
}


def numbered(items: dict[str, list[Any]] | None, item_text: str | None = None) -> NumberedTables:
    events = Dataset.from_dict({"user": [1, 1], "item": ["a", "b"]})
    table = None if items is None else Dataset.from_dict(items)
    return number_tables(RawTables(events, table, item_text=item_text, origin="events.csv"))


def test_a_template_joins_columns_and_lists() -> None:
    made = numbered(ITEMS, "{title}, {year} ({genres})")
    assert made.catalog.texts() == ["Alien, 1979 (Horror, Sci-Fi)", "Brazil, 1985 ()"]
    assert made.catalog.titles() == ["Alien", "Brazil"]


def test_the_default_text_is_the_title_then_the_first_text_then_the_id() -> None:
    assert numbered(ITEMS).catalog.texts() == ["Alien", "Brazil"]
    assert numbered({"item": ["a", "b"], "price": [1, 2], "name": ["x", "y"]}).catalog.texts() == ["x", "y"]
    assert numbered({"item": ["a", "b"], "price": [1, 2]}).catalog.texts() == ["a", "b"]
    assert numbered(None).catalog.texts() == ["a", "b"]


def test_without_an_item_table_every_item_counts_as_without_text() -> None:
    assert numbered(None).items_without_text == 2


def test_the_text_of_an_item_with_empty_columns_is_its_id_and_counted() -> None:
    made = numbered({"item": ["a", "b"], "title": ["Alien", " "], "genres": [["Horror"], []]}, "{title} ({genres})")
    assert made.catalog.texts() == ["Alien (Horror)", "b"]
    assert made.catalog.titles() == ["Alien", "b"]
    assert made.empty_texts == 1


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{titel}", ["no column 'titel'", "Did you mean 'title'?", "Columns: item, title, genres, year"]),
        ("{}", ["no column ''"]),
        ("nothing", ["names no column", "Columns: item"]),
        ("{title", ["expected '}'"]),
        ("{year:>8}", ["'year' must be a plain column name"]),
        ("{year!r}", ["'year' must be a plain column name"]),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        numbered(ITEMS, template)
    assert str(caught.value).startswith(f"data.item_text '{template}'")
    assert all(words in str(caught.value) for words in said), caught.value


def test_a_template_without_an_item_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"events\.csv comes without an item table"):
        numbered(None, "{title}")

"""Columns of the item table as vectors: near numbers and shared words make items alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from lorarec.data.catalog import Catalog
from lorarec.data.item_features import item_features
from lorarec.data.number import number
from lorarec.errors import DataError

ITEMS = {
    "item": ["a", "b", "c", "d"],
    "year": [1990, 1991, 1950, None],
    "genres": [["Drama"], ["Drama", "War"], ["Comedy"], []],
    "colour": ["red", "blue", "red", None],
    "same": [1.0, 1.0, 1.0, 1.0],
    "flag": [True, False, True, True],
}


def catalog(items: dict[str, list[Any]] | None, column: str) -> Catalog:
    """The items of the table, and one that is not in it."""
    events = Dataset.from_dict({"user": [1, 1], "item": ["a", "e"]})
    table = None if items is None else Dataset.from_dict(items)
    return number(events, table, {}, None, "events.csv", items_origin="items.csv", item_columns=[column]).catalog


def likeness(column: str) -> np.ndarray:
    features = item_features(catalog(ITEMS, column), [column], "items.csv")[column]
    assert features.shape[0] == 5 and features.dtype == np.float32
    return features @ features.T


def test_the_likeness_of_numbers_falls_like_a_gaussian_half_a_standard_deviation_wide() -> None:
    found, width = likeness("year"), np.std([1990, 1991, 1950]) / 2
    assert found[0, 0] == pytest.approx(1)
    assert found[0, 1] == pytest.approx(np.exp(-0.5 / width**2), abs=0.01)
    assert found[0, 2] == pytest.approx(np.exp(-0.5 * (40 / width) ** 2), abs=0.01)


def test_the_likeness_of_lists_of_words_is_the_cosine_of_the_sets() -> None:
    found = likeness("genres")
    assert found[0, 1] == pytest.approx(0.5**0.5) and found[0, 2] == 0


def test_equal_words_are_alike() -> None:
    found = likeness("colour")
    assert found[0, 2] == 1 and found[0, 1] == 0


@pytest.mark.parametrize("column", ["year", "genres", "colour"])
def test_where_nothing_is_known_an_item_is_like_no_other(column: str) -> None:
    assert (likeness(column)[3:] == 0).all()  # the fourth has no value, the fifth is not in the item table


@pytest.mark.parametrize(
    ("column", "says"),
    [("yaer", "Did you mean 'year'"), ("same", "all items have the same number"), ("flag", "not by bool")],
)
def test_a_column_that_cannot_compare_items_is_refused_by_name(column: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        likeness(column)


def test_names_are_no_words() -> None:
    items = {"item": ["a", *map(str, range(299))], "title": [f"title {n}" for n in range(300)]}
    with pytest.raises(DataError, match=r"300 distinct words.*data\.item_text"):
        item_features(catalog(items, "title"), ["title"], "items.csv")


def test_without_an_item_table_columns_are_refused() -> None:
    with pytest.raises(DataError, match="without an item table"):
        catalog(None, "year")

"""The catalog keeps the declared columns of items, compares items by them, and grows without moving its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from lorarec.data.catalog import Catalog, item_features
from lorarec.data.prepare import PreparedData
from lorarec.data.raw_tables import NumberedTables, RawTables, number_tables
from lorarec.errors import DataError

ITEMS: dict[str, list[Any]] = {
    "item_id": ["a", "b", "c"],
    "title": ["Alien", "Brazil", " "],
    "genres": [["Horror"], ["Comedy", "Drama"], ["Drama"]],
    "year": [1979, 1985, 1990],
    "shelf": [1, 2, 3],
}
NEW = {"item_id": ["d", "e"], "title": ["Dune", ""], "genres": [[], ["War"]], "year": [2021, None], "extra": [0, 0]}


def numbered(items: dict[str, list[Any]] | None = ITEMS, **more: Any) -> NumberedTables:
    events = Dataset.from_dict({"user": [1, 1], "item_id": ["b", "x"]})
    table = None if items is None else Dataset.from_dict(items)
    given = {"item_text": "{title} ({genres})", "item_columns": ["year"]} | more
    return number_tables(
        RawTables(
            events, table, columns={"item": "item_id"}, item_text=given.pop("item_text"), origin="events.csv",
            items_origin="items.csv",
        ),
        **given,
    )  # fmt: skip


def test_it_keeps_the_columns_of_the_text_the_head_and_the_titles_and_no_others() -> None:
    catalog = numbered().catalog
    assert catalog.declared is not None
    assert catalog.declared.kinds == {"title": "text", "genres": "words", "year": "number"}
    assert catalog.column("year").to_pylist() == [1979, 1985, 1990, None], "x is in no item table"
    with pytest.raises(DataError, match=r"keeps no column 'yaer'. Did you mean 'year'\? It keeps: title, genres, year"):
        catalog.column("yaer")


def test_new_items_come_after_the_old_ones_and_are_written_by_the_same_template() -> None:
    old = numbered().catalog
    new = old.extend(Dataset.from_dict(NEW))
    assert new.ids == ["a", "b", "c", "x", "d", "e"] and len(old) == 4
    assert new.texts()[:4] == old.texts() and new.titles()[:4] == old.titles()
    assert new.texts()[4:] == ["Dune ()", "(War)"] and new.titles()[4:] == ["Dune", "e"]
    assert new.column("year").to_pylist() == [1979, 1985, 1990, None, 2021, None]
    assert new.extend(Dataset.from_dict({**NEW, "item_id": ["f", "g"]})).rows["g"] == 7


def test_an_id_of_the_catalog_is_refused_by_name_or_its_row_kept() -> None:
    catalog = numbered().catalog
    again = Dataset.from_dict({**NEW, "item_id": ["d", "b"]})
    with pytest.raises(DataError, match=r"shop\.csv, row 2: item 'b' is in the catalog already"):
        catalog.extend(again, origin="shop.csv")
    kept = catalog.extend(again, known="keep")
    assert kept.ids == ["a", "b", "c", "x", "d"] and kept.texts([1]) == ["Brazil (Comedy, Drama)"]
    with pytest.raises(DataError, match="row 2: item 'd' is listed again"):
        catalog.extend(Dataset.from_dict({**NEW, "item_id": ["d", "d"]}))


def test_a_column_that_is_missing_or_of_another_type_is_refused_by_name() -> None:
    catalog = numbered().catalog
    lacking = {name: values for name, values in NEW.items() if name != "year"} | {"yaer": [1, 2]}
    with pytest.raises(DataError, match=r"no column 'year', which the items .* have. Did you mean 'yaer'\?"):
        catalog.extend(Dataset.from_dict(lacking))
    with pytest.raises(DataError, match="column 'year': text here, but number in the catalog"):
        catalog.extend(Dataset.from_dict({**NEW, "year": ["old", "new"]}))


def test_a_catalog_without_columns_says_why_it_cannot_grow() -> None:
    with pytest.raises(DataError, match="keeps no columns of its items"):
        numbered(None, item_text=None, item_columns=[]).catalog.extend(Dataset.from_dict(NEW))


def test_a_file_gives_the_same_catalog_back(tmp_path: Path) -> None:
    old = numbered().catalog
    pq.write_table(old.arrow(), tmp_path / "catalog.parquet")
    read = Catalog.of_arrow(pq.read_table(tmp_path / "catalog.parquet"))
    assert read.declared == old.declared
    assert read.extend(Dataset.from_dict(NEW)).arrow().equals(old.extend(Dataset.from_dict(NEW)).arrow())
    features = [item_features(catalog, ["year"], "items.csv")["year"] for catalog in (old, read)]
    assert np.array_equal(*features)


def test_a_catalog_of_an_earlier_run_is_read_without_columns() -> None:
    table = numbered().catalog.arrow().select(["item", "title", "text"]).replace_schema_metadata(None)
    assert Catalog.of_arrow(table).declared is None and len(Catalog.of_arrow(table)) == 4


def test_gaps_in_items_texts_are_counted_column_by_column(prepared: Callable[..., PreparedData]) -> None:
    events = {"user": [1] * 12, "item": ["a"] * 12, "time": list(range(12))}
    items = {"item": ["a", "b", "c"], "title": ["", "B", ""], "genres": ["Drama", "", ""]}
    report = prepared(events, items, item_text="{title} ({genres})").report
    assert report.blank_fields == {"title": 1, "genres": 1} and report.empty_texts == 1
    assert "1 item has nothing for {title} in its text" in report.warnings()


@pytest.mark.parametrize(
    ("asked", "listed", "cause"),
    [
        (["355", "77"], ["0355", "08"], "differ in leading zeros"),
        (["5", "x"], ["5.0", "y.0"], "differ in a .0 at the end"),
        (["ab", "c"], ["AB", "D"], "differ in capital letters"),
        (["caf\u00e9", "c"], ["cafe\u0301", "D"], "differ in characters that look the same"),
        (["a1", "c"], ["\uff411", "D"], "differ in characters that look the same"),
        (["ab ", "c"], ["ab", "D"], "differ in blanks around it"),
        (["p", "q"], ["r", "s"], "'r'. Write"),
    ],
)
def test_an_item_table_of_other_items_is_refused_with_the_likely_cause(
    asked: list[str], listed: list[str], cause: str
) -> None:
    events, items = Dataset.from_dict({"user": [1, 1], "item": asked}), Dataset.from_dict({"item": listed})
    with pytest.raises(DataError, match=r"No item of t\.csv") as caught:
        number_tables(RawTables(events, items, origin="t.csv", items_origin="i.csv"))
    message = str(caught.value)
    assert cause in message and f"'{asked[0]}'" in message and f"'{listed[0]}'" in message
    assert "data.unlisted_items=all" in message
    assert number_tables(RawTables(events, items, origin="t.csv"), unlisted="all").items_without_text == 2


def test_items_that_are_spelled_otherwise_in_the_item_table_are_noted() -> None:
    events = Dataset.from_dict({"user": [1, 1, 1, 1], "item": ["7", "08", "x", "10"]})
    items = Dataset.from_dict({"item": ["007", "08", "010"], "title": ["A", "B", "C"]})
    tables = number_tables(RawTables(events, items, origin="t.csv", items_origin="i.csv"))
    (note,) = tables.notes
    assert note.startswith("t.csv: 2 of the items that are not in the item table may be other spellings")
    assert "'7' and '007' differ in leading zeros" in note
    listed = Dataset.from_dict({"item": ["7", "08", "x", "10"], "title": ["A", "B", "C", "D"]})
    assert number_tables(RawTables(events, listed, origin="t.csv", items_origin="i.csv")).notes == ()


def test_new_items_are_written_as_the_old_ones_whatever_types_their_file_has() -> None:
    old = numbered(item_text="{title} ({year}) {genres}").catalog
    given = {"item_id": ["d", "e"], "title": [1984, 2010], "year": [1984.0, None], "genres": [[], []]}
    new = old.extend(Dataset.from_dict(given))
    assert new.texts()[4:] == ["1984 (1984)", "2010 ()"], "as whole numbers, like those of the catalog"
    assert new.table.features == old.table.features
    half = old.extend(Dataset.from_dict(given | {"year": [1984.5, None]}))
    assert half.texts()[4] == "1984 (1984.5)" and half.column("year").to_pylist()[-2:] == [1984.5, None]


def test_a_column_that_was_empty_takes_the_form_of_the_first_values() -> None:
    old = numbered(ITEMS | {"mood": [None, None, None]}, item_text="{title} {mood}").catalog
    new = old.extend(Dataset.from_dict(NEW | {"mood": [3, 4]}))
    assert new.texts()[4:] == ["Dune 3", "4"]
    with pytest.raises(DataError, match="column 'mood': text here, but number in the catalog"):
        new.extend(Dataset.from_dict(NEW | {"item_id": ["f", "g"], "mood": ["sad", "calm"]}))


def test_nan_is_empty_in_a_text(prepared: Callable[..., PreparedData]) -> None:
    events = {"user": [1] * 12, "item": ["a"] * 12, "time": list(range(12))}
    items = {"item": ["a", "b"], "title": ["A", "B"], "year": [float("nan"), 1999.0]}
    made = prepared(events, items, item_text="{title} {year}")
    assert made.catalog.texts() == ["A", "B 1999.0"] and made.report.blank_fields == {"year": 1}


def test_reading_unlisted_items_as_their_ids_is_refused_where_there_is_no_item_table(
    prepared: Callable[..., PreparedData],
) -> None:
    with pytest.raises(DataError, match=r"data\.unlisted_items=all does nothing here: events\.csv comes without"):
        prepared({"user": [1] * 12, "item": ["a", "b"] * 6, "time": list(range(12))}, unlisted_items="all")


COMPARED = {
    "item": ["a", "b", "c", "d"],
    "year": [1990, 1991, 1950, None],
    "genres": [["Drama"], ["Drama", "War"], ["Comedy"], []],
    "color": ["red", "blue", "red", None],
    "same": [1.0, 1.0, 1.0, 1.0],
    "flag": [True, False, True, True],
}


def compared(items: dict[str, list[Any]] | None, column: str) -> Catalog:
    """The items of the table, and one that is not in it."""
    events = Dataset.from_dict({"user": [1, 1], "item": ["a", "e"]})
    table = None if items is None else Dataset.from_dict(items)
    raw = RawTables(events, table, origin="events.csv", items_origin="items.csv")
    return number_tables(raw, item_columns=[column]).catalog


def similarity(column: str) -> np.ndarray:
    features = item_features(compared(COMPARED, column), [column], "items.csv")[column]
    assert features.shape[0] == 5 and features.dtype == np.float32
    return features @ features.T


def test_the_similarity_of_numbers_falls_like_a_gaussian_half_a_standard_deviation_wide() -> None:
    similar, width = similarity("year"), np.std([1990, 1991, 1950]) / 2
    assert similar[0, 0] == pytest.approx(1)
    assert similar[0, 1] == pytest.approx(np.exp(-0.5 / width**2), abs=0.01)
    assert similar[0, 2] == pytest.approx(np.exp(-0.5 * (40 / width) ** 2), abs=0.01)


def test_the_similarity_of_lists_of_words_is_the_cosine_of_the_sets() -> None:
    similar = similarity("genres")
    assert similar[0, 1] == pytest.approx(0.5**0.5) and similar[0, 2] == 0


def test_equal_words_have_similarity_1() -> None:
    similar = similarity("color")
    assert similar[0, 2] == 1 and similar[0, 1] == 0


@pytest.mark.parametrize("column", ["year", "genres", "color"])
def test_an_item_without_a_value_is_similar_to_no_other(column: str) -> None:
    assert (similarity(column)[3:] == 0).all()  # the fourth has no value, the fifth is not in the item table


@pytest.mark.parametrize(
    ("column", "says"),
    [("yaer", "Did you mean 'year'"), ("same", "all items have the same number"), ("flag", "not by bool")],
)
def test_a_column_that_cannot_compare_items_is_refused_by_name(column: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        similarity(column)


def test_too_many_distinct_words_are_refused_as_names() -> None:
    items = {"item": ["a", *map(str, range(299))], "title": [f"title {n}" for n in range(300)]}
    with pytest.raises(DataError, match=r"300 distinct words.*data\.item_text"):
        item_features(compared(items, "title"), ["title"], "items.csv")


def test_without_an_item_table_columns_are_refused() -> None:
    with pytest.raises(DataError, match="without an item table"):
        compared(None, "year")

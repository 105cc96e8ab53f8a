"""Parquet files stay where they are: only columns that are used are read, and they give what a copy of them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection, SplitSection
from lorarec.contracts import DataError, ParquetTable, RawTables, cache_folder, read_table
from lorarec.data.ids import encode_ids
from lorarec.data.prepare import Wanted, prepare


def shards(folder: Path, *tables: dict[str, Any]) -> list[Path]:
    paths = [folder / f"part-{number}.parquet" for number in range(len(tables))]
    for path, columns in zip(paths, tables, strict=True):
        pq.write_table(pa.table(columns), path, row_group_size=3)
    return paths


@pytest.fixture
def events(tmp_path: Path) -> list[Path]:
    """Three shards of a log, with a column that nothing reads."""
    draw = np.random.default_rng(0)
    parts = []
    for _ in range(3):
        parts.append(
            {
                "user": [f"u{number}" for number in draw.integers(0, 7, 40)],
                "item": [f"i{number}" for number in draw.integers(0, 20, 40)],
                "time": draw.integers(0, 1000, 40),
                "history": [
                    [f"i{number}" for number in draw.integers(0, 20, count)] for count in draw.integers(0, 4, 40)
                ],
                "note": ["unread"] * 40,
            }
        )
    return shards(tmp_path, *parts)


@pytest.mark.parametrize("history", [True, False])
def test_files_in_place_give_the_data_that_a_copy_gives(events: list[Path], history: bool) -> None:
    section = DataSection(source="files", split=SplitSection(by="time"))
    unread = ["note"] if history else ["note", "history"]
    tables = ParquetTable(events).remove_columns(unread), read_table(events).remove_columns(unread)
    place, copy = (prepare(RawTables(table, origin="events"), Wanted(), section, 13) for table in tables)
    assert place.report == copy.report
    assert place.catalog.ids == copy.catalog.ids
    assert place.interactions.user_ids.to_pylist() == copy.interactions.user_ids.to_pylist()


def test_columns_that_nothing_reads_may_even_be_damaged_and_nothing_is_cached(events: list[Path]) -> None:
    before = set(cache_folder().rglob("*"))
    for path in events:
        content = bytearray(path.read_bytes())
        for group in range(pq.read_metadata(path).num_row_groups):
            column = pq.read_metadata(path).row_group(group).column(4)
            start = column.dictionary_page_offset
            content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
        path.write_bytes(content)
    table = ParquetTable(events)
    assert len(table.column("user")) == len(table) == 120
    with pytest.raises(DataError, match=r"part-0\.parquet: not a readable parquet file"):
        table.column("note")
    assert set(cache_folder().rglob("*")) == before


def test_ids_are_numbered_by_first_appearance_whatever_the_order_of_dictionaries() -> None:
    chunks = [
        pa.DictionaryArray.from_arrays(pa.array([2, 0, 2]), pa.array(["a", "unused", "c"])),
        pa.DictionaryArray.from_arrays(pa.array([1, 1, 0]), pa.array(["b", "a"])),
    ]
    encoded = encode_ids(pa.chunked_array(chunks), "events, column 'user'")
    assert encoded.codes.tolist() == [0, 1, 0, 1, 1, 2] and encoded.ids.to_pylist() == ["c", "a", "b"]
    (twice,) = [pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "a", "b"]))]
    assert encode_ids(pa.chunked_array([twice]), "events").codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("word", "message"), [(None, "row 5: the id is missing"), ("", "row 5: the id is empty")])
def test_a_missing_or_empty_id_is_refused_by_its_row_over_all_files(
    tmp_path: Path, word: str | None, message: str
) -> None:
    table = ParquetTable(shards(tmp_path, {"user": ["a", "b", "c"]}, {"user": ["a", word, "c"]}))
    with pytest.raises(DataError, match=message):
        encode_ids(table.column("user", ids=True), "events, column 'user'")
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0] * 4 + [1]), pa.array(["a", word]))
    with pytest.raises(DataError, match=message):
        encode_ids(pa.chunked_array([dictionary]), "events, column 'user'")


def test_a_column_of_several_types_has_the_one_that_holds_all_values(tmp_path: Path) -> None:
    parts = [{"user": [7, 8]}, {"user": ["007", "x"]}, {"user": pa.nulls(1)}]
    table = ParquetTable(shards(tmp_path, *parts))
    for ids in (True, False):
        assert table.column("user", ids=ids).to_pylist() == ["7", "8", "007", "x", None]
    with pytest.raises(DataError, match=r"part-1\.parquet: lacks 'user' and also has 'item', unlike .*part-0\.parquet"):
        ParquetTable(shards(tmp_path, {"user": [1]}, {"item": [1]}))
    with pytest.raises(DataError, match=r"part-1\.parquet: column 'user' holds list"):
        ParquetTable(shards(tmp_path, {"user": [1]}, {"user": [[1]]}))


def test_rows_are_selected_and_columns_removed_as_of_a_dataset(events: list[Path]) -> None:
    table = ParquetTable(events).remove_columns(["note"]).select(np.array([119, 3, 3, 40]))
    copy = read_table(events).remove_columns(["note"]).select([119, 3, 3, 40])
    assert table.column_names == copy.column_names and len(table) == 4
    assert (
        table.dataset().to_list() == copy.to_list() == [table.select(np.arange(4)).dataset()[row] for row in range(4)]
    )


def test_parts_have_a_column_that_names_them(events: list[Path]) -> None:
    parts = [ParquetTable(events[:2]), ParquetTable(events[2:])]
    table = ParquetTable.of_parts(parts, "split", ["train", "test"])
    assert table.column("split").to_pylist() == ["train"] * 80 + ["test"] * 40
    assert table.column_names[-1] == "split" and table.column("user").equals(ParquetTable(events).column("user"))


def test_a_file_that_changes_while_it_is_read_is_refused(events: list[Path]) -> None:
    table = ParquetTable(events)
    table.column("user")
    pq.write_table(pq.read_table(events[1]).slice(1), events[1])
    with pytest.raises(DataError, match=r"part-1\.parquet: changed while being read"):
        table.column("item")


def test_ids_of_more_than_two_gibibytes_have_wide_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorarec.data.ids.WIDE", 100)
    texts = [f"user-{number:010}" for number in [*range(20), *range(20)]]
    plain = pa.chunked_array([texts[:10], texts[10:]])
    for column in (plain, plain.dictionary_encode()):
        encoded = encode_ids(column, "events, column 'user'")
        assert encoded.ids.type == pa.large_string()
        assert encoded.ids.to_pylist() == texts[:20] and encoded.codes.tolist() == [*range(20), *range(20)]
    rows = {"user": texts, "item": texts, "time": list(range(40))}
    section = DataSection(source="files", split=SplitSection(by="time"))
    made = prepare(RawTables(Dataset.from_dict(rows), origin="events"), Wanted(), section, 13)
    assert made.catalog.ids == made.interactions.user_ids.to_pylist() == texts[:20]


@pytest.mark.parametrize("group", [1, 200, 1 << 28])
def test_texts_and_lists_of_them_are_encoded_group_by_group(
    events: list[Path], monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr("lorarec.data.parquet_table.GROUP", group)
    table = ParquetTable(events)
    for name in ("user", "history", "time"):
        assert table.column(name, ids=True).to_pylist() == table.column(name).to_pylist()
    lists = pa.array([["a"], None, [], ["b", "a"]], pa.large_list(pa.string()))
    pq.write_table(pa.table({"history": lists}), events[0])
    assert ParquetTable(events[:1]).column("history", ids=True).to_pylist() == lists.to_pylist()


def test_words_of_all_groups_together_may_exceed_32_bit_offsets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorarec.data.parquet_table.GROUP", 1)
    monkeypatch.setattr("lorarec.data.parquet_table.WIDE", 60)
    words = [f"user-{number}" for number in range(9)]
    column = ParquetTable(shards(tmp_path, {"user": words}, {"user": words[::-1]})).column("user", ids=True)
    assert column.type.value_type == pa.large_string() and column.to_pylist() == words + words[::-1]


@pytest.mark.parametrize("items", [[7.0, 8.0, 9.0], [7, 8, 9]])
def test_histories_of_texts_with_items_of_numbers_are_read_as_from_a_copy(items: list[float], tmp_path: Path) -> None:
    columns = {"item": items * 9, "history": [["8.0"], [], ["7.0", "9.0"]] * 9, "time": list(range(27))}
    (path,) = shards(tmp_path, columns)
    section = DataSection(source="files", split=SplitSection(by="time"))
    tables = ParquetTable([path]), read_table(path)
    place, copy = (prepare(RawTables(table, origin="events"), Wanted(), section, 13) for table in tables)
    assert place.report == copy.report and place.catalog.ids == copy.catalog.ids == ["7", "8", "9"]


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            pa.array([5, 2**24], pa.float32()),
            r"0\.parquet, column 'user', row group 1, row 2: digits of the id",
        ),
        (pa.array([5, 2**53 + 1], pa.int64()), r"column 'user' holds int64, and not all of it can be read as double"),
    ],
)
def test_ids_that_the_common_type_of_files_would_change_are_refused(one: pa.Array, says: str, tmp_path: Path) -> None:
    for number, column in enumerate((one, pa.array([5.0, 7.0], pa.float64()))):
        pq.write_table(pa.table({"user": column}), tmp_path / f"{number}.parquet")
    table = ParquetTable([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    with pytest.raises(DataError, match=says):
        table.column("user", ids=True)

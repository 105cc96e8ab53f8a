"""One reader for all formats: values, and ids above all, are read as written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorarec.contracts import DataError, cache_folder, joined_tables, read_table
from lorarec.data.ids import encode_ids, id_texts
from lorarec.data.tables import read_into_memory

Write = Callable[[str, list[Any]], Path]
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet")
SPELLED = [
    ["12E4", "120E3", "1E5"],
    ["0x1F", "31"],
    ["+5", "5"],
    ["-0", "0"],
    ["007", "7"],
    ["1e3", "1000"],
    ["1e-400", "0"],
]
SPELLED += [["5.00000000000000000001", "5"], ["0." + "0" * 400 + "1", "0"]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def column(tmp_path: Path) -> Write:
    """A file of one format with one column `id` of these values."""

    def write(suffix: str, values: list[Any]) -> Path:
        path = tmp_path / f"a.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.table({"id": values}), path)
        elif suffix == "json":
            path.write_text(json.dumps([{"id": value} for value in values]))
        elif suffix == "jsonl":
            path.write_text("".join(json.dumps({"id": value}) + "\n" for value in values))
        else:
            path.write_text("id\n" + "".join(f"{value}\n" for value in values))
        return path

    return write


def ids(path: Path) -> list[str]:
    return id_texts(read_table(path).data.column("id"), f"{path}, column 'id'")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("values", SPELLED, ids="".join)
def test_ids_that_spell_the_same_number_stay_different_in_every_format(
    suffix: str, values: list[str], column: Write
) -> None:
    assert ids(column(suffix, values)) == values


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_numbers_are_read_as_numbers_and_as_ids_in_their_digits(suffix: str, column: Write) -> None:
    path = column(suffix, [7, 10, -3])
    assert read_table(path).data.column("id").type == pa.int64()
    assert ids(path) == ["7", "10", "-3"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_numbers_that_became_floats_are_the_ids_they_were(suffix: str, column: Write) -> None:
    assert ids(column(suffix, [5.0, 12.0])) == ["5", "12"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_float_that_is_not_whole_is_refused_by_row(suffix: str, column: Write) -> None:
    with pytest.raises(DataError, match=r"column 'id', row 2: 5\.5 is not a valid id"):
        ids(column(suffix, [5.0, 5.5]))


@pytest.mark.parametrize("suffix", FORMATS)
def test_floats_whose_digits_are_lost_are_refused_with_a_remedy(suffix: str, column: Write) -> None:
    with pytest.raises(DataError, match=r"row 1: digits of the id are lost in .*7\.65612.*Export the column as text"):
        ids(column(suffix, [7.65612e16, 7.65612e16]))
    with pytest.raises(DataError, match=r"row 2: digits of the id are lost"):
        ids(column(suffix, ["a", "1.01463E+20"]))
    with pytest.raises(DataError, match=r"row 1: digits of the id are lost in .* \(so in 3 rows\)\. Export"):
        ids(column(suffix, [7.65612e16, 7.65612e16, 5.0, 7.65613e16]))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.float64(), float("inf")),
        (pa.float64(), 2.0**53),  # it may have been 2**53 + 1
        (pa.float32(), 2.0**24),
        (pa.float32(), -(2.0**24)),
        (pa.float16(), 2.0**11),
    ],
)
def test_infinite_and_too_large_floats_are_refused_not_cast(kind: pa.DataType, value: float) -> None:
    with pytest.raises(DataError, match="row 2: digits of the id are lost"):
        encode_ids(pa.chunked_array([pa.array([1.0, value], kind)]), "a.parquet, column 'id'")


@pytest.mark.parametrize("kind", [pa.decimal128(38, 0), pa.decimal256(60, 0), pa.float64(), pa.float32()])
def test_whole_numbers_of_any_type_are_their_digits(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([5, 2**24 - 1, -1], pa.int64()).cast(kind)])
    assert encode_ids(column, "a.parquet").ids.to_pylist() == ["5", "16777215", "-1"]


def test_a_number_written_with_all_its_digits_is_an_id(column: Write) -> None:
    assert ids(column("csv", ["7.6561197960265728e+16"])) == ["7.6561197960265728e+16"]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_whole_numbers_beyond_int64_or_beside_fractions_lose_no_digit(suffix: str, column: Write) -> None:
    assert ids(column(suffix, [2**70, 5])) == [str(2**70), "5"]
    assert read_table(column(suffix, [2**53 + 1, 0.5]))["id"][:] == [str(2**53 + 1), "0.5"]
    assert ids(column(suffix, [2**53, 5.0])) == [str(2**53), "5.0"]


def test_a_json_field_of_several_kinds_is_text_as_it_is_written(column: Write) -> None:
    mixed = [None, 12.99, "from 14.99", {"Brand": ["Yes", "No"]}, [1, {"a": 2}]]
    read = read_table(column("jsonl", mixed))["id"][:]
    assert read == [None, "12.99", "from 14.99", '{"Brand": ["Yes", "No"]}', '[1, {"a": 2}]']
    assert ids(column("json", [7, "a"])) == ["7", "a"]


def test_a_json_list_of_numbers_and_words_is_a_list_of_words(column: Write) -> None:
    assert read_table(column("jsonl", [[7, "a"], [], None, [8]]))["id"][:] == [["7", "a"], [], None, ["8"]]


def test_numbers_of_any_plain_spelling_are_numbers(column: Write) -> None:
    assert read_table(column("csv", ["3", "4.50", "-0.5", "2.5e-05"]))["id"][:] == [3.0, 4.5, -0.5, 2.5e-05]


def test_words_such_as_none_and_na_are_text_in_every_format(column: Write) -> None:
    words = ["None", "NA", "null", "nan", "0000"]
    for suffix in FORMATS:
        assert ids(column(suffix, words)) == words


def test_all_columns_can_be_read_as_text(column: Write) -> None:
    assert read_table(column("tsv", ["7", "8.0"]), text=True)["id"][:] == ["7", "8.0"]
    with pytest.raises(DataError, match="only csv and tsv files can be read as text"):
        read_table(column("jsonl", [7]), text=True)


def test_a_format_can_be_set_where_the_suffix_is_of_another(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"id": 1}\n{"id": 2}\n')
    assert read_table(tmp_path / "a.json", format="jsonl")["id"][:] == [1, 2]


def test_a_parquet_column_of_maps_is_text_and_a_duplicate_column_is_refused(tmp_path: Path) -> None:
    maps = pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))
    pq.write_table(pa.table({"id": ["x", "y"], "tags": maps}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet")["tags"][:] == ['{"a": 1}', None]
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["id", "id"])
    pq.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: the column 'id' appears twice"):
        read_table(tmp_path / "b.parquet")


def test_requests_are_read_by_the_same_reader_and_not_cached(column: Write) -> None:
    path = column("csv", ["007", "12E4"])
    assert read_into_memory(path).equals(read_table(path).data.table.combine_chunks())
    read_into_memory(column("tsv", ["x"]))
    assert len(list((cache_folder() / "tables").iterdir())) == 1


def test_files_of_other_columns_cannot_be_joined(column: Write, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("key\n1\n")
    with pytest.raises(DataError, match="b: lacks 'id' and also has 'key', unlike a"):
        joined_tables({"a": read_table(column("csv", [1])), "b": read_table(tmp_path / "b.csv")})


JOINED = [
    ([[1, 2]], [[]], [[1, 2], []]),
    ([[1, 2]], [["x"]], [["1", "2"], ["x"]]),
    ([[1, 2]], [[0.5]], [[1.0, 2.0], [0.5]]),
    ([[1, 2]], [None], [[1, 2], None]),
    ([None], [True], [None, True]),
    ([None], ["x"], [None, "x"]),
    ([7], [0.5], [7.0, 0.5]),
    ([7], ["007"], ["7", "007"]),
]


@pytest.mark.parametrize(("one", "other", "together"), JOINED)
def test_columns_of_different_types_are_joined_as_their_common_type(
    tmp_path: Path, one: list[object], other: list[object], together: list[object]
) -> None:
    parts = {}
    for name, values in (("a", one), ("b", other)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"key": value}) + "\n" for value in values))
        parts[name] = read_table(path)
    assert joined_tables(parts)["key"][:] == together


def test_a_column_of_lists_in_one_file_and_of_values_in_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"key": [1]}\n')
    (tmp_path / "b.jsonl").write_text('{"key": 1}\n')
    with pytest.raises(DataError, match=r"b: column 'key' holds int64, but list<item: int64> in the other files"):
        joined_tables({name: read_table(tmp_path / f"{name}.jsonl") for name in ("a", "b")})

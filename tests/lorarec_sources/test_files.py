"""The source `files`."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lorarec.config.recipe import DataSection
from lorarec.contracts import DataError, RawTables, cache_folder
from lorarec.data import delimited, json_rows, open_files
from lorarec.data.prepare import Wanted, prepare
from lorarec.data.raw_tables import as_arrow, number_tables
from lorarec_sources.files import FilesSource

Write = Callable[[dict[str, str | bytes]], Path]
CSV = "user,item,rating\na,007,3\nb,7,4.5\n"


def load(**options: Any) -> RawTables:
    return FilesSource(FilesSource.Config(**options)).load()


def refusal(**options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(**options)
    return str(caught.value)


def rows(tables: RawTables) -> list[dict[str, Any]]:
    return list(as_arrow(tables.interactions).to_pylist())


def test_a_folder_is_searched_for_the_three_tables(folder: Write) -> None:
    path = folder({"ratings.csv": CSV, "movies.tsv": "item\ttitle\n007\tBond\n", "users.jsonl": '{"user": "a"}\n'})
    tables = load(path=str(path))
    assert rows(tables) == [
        {"user": "a", "item": "007", "rating": 3.0},
        {"user": "b", "item": "7", "rating": 4.5},
    ]
    assert tables.items is not None and tables.items["title"][:] == ["Bond"]
    assert tables.users is not None and tables.users["user"][:] == ["a"]
    assert "ratings.csv" in tables.origin and "movies.tsv" in tables.items_origin


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(suffix: str, folder: Write) -> None:
    wanted = [{"user": 1, "item": "x", "rating": 2.5}, {"user": 2, "item": "y, z", "rating": 4.0}]
    path = folder(
        {
            "a.csv": 'user,item,rating\n1,x,2.5\n2,"y, z",4\n',
            "a.tsv": "user\titem\trating\n1\tx\t2.5\n2\ty, z\t4\n",
            "a.json": '[{"user": 1, "item": "x", "rating": 2.5}, {"user": 2, "item": "y, z", "rating": 4}]',
            "a.jsonl": '{"user": 1, "item": "x", "rating": 2.5}\n\n{"user": 2, "item": "y, z", "rating": 4}\n',
        }
    )
    pq.write_table(pa.Table.from_pylist(wanted), path / "a.parquet")
    assert rows(load(interactions=str(path / f"a.{suffix}"))) == wanted


def test_relative_paths_start_at_the_working_directory(folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder({"i.csv": CSV}))
    assert len(load(interactions="i.csv").interactions) == 2


def test_a_file_for_each_part_gives_a_split_column_and_one_type(folder: Write) -> None:
    path = folder({"a.csv": "user,item,rating\n1,7,3\n", "b.csv": "item,user,rating\n007,1,2.5\n"})
    tables = load(path=str(path), interactions={"train": "a.csv", "test": "b.csv"})
    assert rows(tables) == [
        {"user": 1, "item": "7", "rating": 3.0, "split": "train"},
        {"user": 1, "item": "007", "rating": 2.5, "split": "test"},
    ]
    assert tables.columns == {"split": "split"}


def test_words_such_as_NA_and_None_stay_words(folder: Write) -> None:  # noqa: N802
    path = folder({"interactions.csv": "user,item\nNA,None\nnull,nan\n"})
    assert rows(load(path=str(path))) == [{"user": "NA", "item": "None"}, {"user": "null", "item": "nan"}]


def test_quotes_in_tsv_are_ordinary_and_in_csv_they_enclose(folder: Write) -> None:
    path = folder({"items.tsv": 'item\ttitle\n1\t"Weird Al\n', "interactions.csv": 'user,item\n1,"two\nlines"\n'})
    tables = load(path=str(path))
    assert tables.items is not None and tables.items["title"][:] == ['"Weird Al']
    assert rows(tables)[0]["item"] == "two\nlines"


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder({"interactions.csv": CSV})
    load(path=str(path))
    folder({"interactions.csv": CSV + "c,8,1\n"})
    assert len(load(path=str(path)).interactions) == 3
    assert len(list((cache_folder() / "tables").iterdir())) == 2
    monkeypatch.setattr(delimited.ColumnTypes, "see", None)
    assert len(load(path=str(path)).interactions) == 3


def test_types_are_inferred_from_the_whole_file_not_its_beginning(
    folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "BLOCK", 64)
    monkeypatch.setattr(json_rows, "ROWS", 3)
    lines = [f"{n},{n}\n" for n in range(50)]
    path = folder(
        {
            "a.csv": "user,item\n" + "".join(lines) + "last,0.5\n",
            "a.jsonl": '{"a": 1}\n' * 7 + '{"a": 0.5, "b": [1]}\n',
        }
    )
    last = rows(load(interactions=str(path / "a.csv")))
    assert last[3] == {"user": "3", "item": 3.0} and last[50] == {"user": "last", "item": 0.5}
    assert rows(load(interactions=str(path / "a.jsonl")))[-1] == {"a": 0.5, "b": [1]}


def test_a_missing_file_is_named_with_the_files_of_its_folder(folder: Write) -> None:
    path = folder({"interactions.csv": CSV, "notes.txt": ""})
    message = refusal(interactions=str(path / "interaction.csv"))
    assert "interaction.csv: there is no such file. Did you mean 'interactions.csv'?" in message
    assert "notes.txt" in message
    assert "no such folder" in refusal(path=str(path / "nowhere"))
    assert "folder that contains it" in refusal(path=str(path / "notes.txt"))


def test_an_empty_or_ambiguous_folder_is_refused_by_name(folder: Write, tmp_path: Path) -> None:
    assert "is empty. Set `interactions`" in refusal(path=str(tmp_path))
    folder({"interactions.csv": CSV, "ratings.csv": CSV})
    assert "interactions.csv, ratings.csv. Set `interactions`" in refusal(path=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.csv", "user,item\n1,2\n1,2,3\n", r"a\.csv, line 3: 3 fields, but line 1 names 2 columns"),
        ("a.csv", 'user,item\n"1\n\n",2\n1\n', r"a\.csv, line 5: 1 fields"),
        ("a.csv", 'user,item\n1,2\n3,"4\n', r"a\.csv, line 3: .*quote"),
        ("a.csv", "user,user\n1,2\n", r"line 1: the column 'user' appears twice"),
        ("a.csv", "", r"the file is empty"),
        ("a.tsv", "user\titem\n1\n", r"a\.tsv, line 2: 1 fields"),
        (
            "a.csv",
            "user,item\n1,Amélie\n".encode("latin-1"),
            r"a\.csv, line 2: byte 0xe9 at position 5 is not UTF-8",
        ),
        ("a.jsonl", b'{"a": "\xe9"}\n', r"a\.jsonl, line 1: byte 0xe9"),
        ("a.jsonl", '{"a": 1}\n{"a": 2\n', r"a\.jsonl, line 2, column \d+: not JSON"),
        (
            "a.jsonl",
            '{"a": 1}\n{"déjà": }\n',
            r"a\.jsonl, line 2, column 10: not JSON",
        ),
        ("a.jsonl", '{"a": 1}\n[2]\n', r"a\.jsonl, line 2: a list, but each line must be an object"),
        (
            "a.jsonl",
            '{"a": 1}\n\n{"a": "\\ud800"}\n',
            r"line 3, column \d+: not JSON that can be read: .*hex escape, after .*ud800",
        ),
        (
            "a.jsonl",
            '{"a": 1}\n{"a": ' + "[" * 100_000 + "\n",
            r"line 2, column \d+: not JSON that can be read: recursion limit",
        ),
        ("a.jsonl", "", r"there are no rows"),
        ("a.json", '{"a": 1}', r"holds one object, but must hold a list of objects"),
        ("a.json", "[{},\n 3]", r"a\.json, row 2: a number or null"),
        ("a.json", "[{},\n", r"a\.json, line 1, column 4: not JSON"),
        ("a.parquet", "nonsense", r"a\.parquet: not a readable parquet file"),
        ("a.xlsx", "", r"a\.xlsx: files of this kind are not read\. Use one of: \.csv"),
    ],
)
def test_a_malformed_file_is_refused_with_the_location(
    name: str, content: str | bytes, wanted: str, folder: Write
) -> None:
    path = folder({name: content})
    assert re.search(wanted, refusal(interactions=str(path / name)))
    assert not list((cache_folder() / "tables").glob("*"))


def test_parts_with_other_columns_or_a_split_column_are_refused(folder: Write) -> None:
    path = folder({"a.csv": CSV, "b.csv": "user,item\n1,2\n", "c.csv": "user,split\n1,train\n"})
    assert "b.csv: lacks 'rating', unlike" in refusal(path=str(path), interactions={"train": "a.csv", "test": "b.csv"})
    assert "already has a column 'split'" in refusal(path=str(path), interactions={"train": "c.csv"})


def test_options_that_name_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="the data is missing"):
        FilesSource.Config()


def test_a_file_without_rows_keeps_its_columns(folder: Write) -> None:
    tables = load(path=str(folder({"interactions.csv": "user,item\n"})))
    assert tables.interactions.column_names == ["user", "item"] and len(tables.interactions) == 0


def test_columns_without_a_name_are_read_under_one_and_noted(folder: Write) -> None:
    path = folder({"interactions.csv": "user,item,,\n1,a,,\n2,b,,x\n"})
    raw = load(path=str(path))
    assert raw.interactions.column_names == ["user", "item", "Unnamed: 2", "Unnamed: 3"]
    assert "columns without a name: 'Unnamed: 2', 'Unnamed: 3'" in raw.notes[0]


def test_a_table_is_a_list_a_pattern_or_a_folder_of_files(folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder({})
    monkeypatch.chdir(path)
    (path / "shards").mkdir()
    for number in (2, 1, 10):
        pq.write_table(pa.table({"user": [number], "item": ["x"]}), path / f"shards/part-{number:02}.parquet")
    (path / "shards/_SUCCESS").touch()
    for files in ("shards/*.parquet", "shards", ["shards/part-01.parquet", "shards/part-02.parquet", "shards/p*10*"]):
        tables = load(interactions=files)
        assert as_arrow(tables.interactions)["user"].to_pylist() == [1, 2, 10]
        assert tables.origin == "shards/part-01.parquet, shards/part-02.parquet, shards/part-10.parquet"
    listed = load(interactions=["shards/part-10.parquet", "shards/part-02.parquet"])
    assert as_arrow(listed.interactions)["user"].to_pylist() == [10, 2]
    parts = load(interactions={"train": "shards/*-0*", "test": {"path": "shards/part-10.parquet"}})
    assert as_arrow(parts.interactions)["split"].to_pylist() == ["train", "train", "test"]
    assert "no file has such a name. In shards there are" in refusal(interactions="shards/*.csv")
    assert "named twice" in refusal(interactions=["shards", "shards/part-01.parquet"])


BAD = "user,item,rating,time\nb,y,3,4\nc,x,k.A.,2\n"
GOOD = "user,item,rating,time\na,x,4,1\na,y,5,2\nb,x,2,3\n"


@pytest.mark.parametrize("packed", [False, True])
def test_of_several_files_the_bad_row_is_named_with_its_file(packed: bool, folder: Write) -> None:
    name = "feb.csv.gz" if packed else "feb.csv"
    path = folder({"jan.csv": GOOD, name: gzip.compress(BAD.encode()) if packed else BAD, "mar.csv": GOOD})
    tables = load(path=str(path), interactions=["jan.csv", name, "mar.csv"])

    def said(tables: RawTables = tables, **section: Any) -> str:
        with pytest.raises(DataError) as caught:
            prepare(tables, Wanted(), DataSection(source="files", **section), 13)
        return str(caught.value)

    assert f"column 'rating', row 2 of {name}: 'k.A.' is not a number" in said()
    assert f"column 'rating', row 2 of {name}: the value is missing ('k.A.')" in said(missing_values=["k.A."])
    assert "'time', row 1 of jan.csv: '1' is not a date" in said(
        dates="%Y", missing="drop", missing_values={"rating": ["k.A."], "time": [2, 3]}
    )
    assert "rows 1 of jan.csv and 1 of mar.csv are the same event with a rating of 4 and 3" in said(
        load(path=str(folder({"mar.csv": GOOD.replace("x,4", "x,3")})), interactions=["jan.csv", "mar.csv"]),
        duplicates="sum",
    )
    folder({"mar.csv": "user,item,rating,time\n,x,4,1\n"})
    tables = load(path=str(path), interactions={"train": "jan.csv", "test": "mar.csv"})
    assert "column 'user', row 1 of mar.csv: the value is missing (empty)" in said(tables)


def test_rows_of_parquet_shards_and_of_files_of_one_name_are_named_by_file(folder: Write) -> None:
    path = folder({})
    for name, users in (("a", ["u"]), ("b", ["u", None])):
        (path / name).mkdir()
        pq.write_table(pa.table({"user": users, "item": ["x"] * len(users)}), path / name / "events.parquet")
    tables = load(interactions=str(path / "*/events.parquet"))
    with pytest.raises(DataError, match=rf"'user', row 2 of {path / 'b/events.parquet'}: the value is missing"):
        number_tables(tables)


def test_an_item_that_is_listed_in_two_files_is_named_with_both(folder: Write) -> None:
    path = folder({"interactions.csv": GOOD, "i1.csv": "item,title\nx,A\n", "i2.csv": "item,title\ny,B\nx,C\n"})
    with pytest.raises(DataError, match=r"row 2 of i2\.csv: item 'x' is listed again \(first in row 1 of i1\.csv\)"):
        number_tables(load(path=str(path), items=["i1.csv", "i2.csv"]))


def test_each_table_has_its_own_options_and_the_source_says_what_it_detected(folder: Write) -> None:
    path = folder(
        {"ratings.csv.gz": gzip.compress(b"a|7|3\n"), "items.csv": "item;title\n7;Fianc\u00e9\n".encode("latin-1")}
    )
    ratings = {"path": "ratings.csv.gz", "header": ["user", "item", "rating"]}
    tables = load(path=str(path), interactions=ratings, items={"path": "items.csv", "encoding": "latin-1"})
    assert rows(tables) == [{"user": "a", "item": 7, "rating": 3}]
    assert tables.items is not None and tables.items["title"][:] == ["Fianc\u00e9"]
    assert tables.notes == (
        f"{path / 'ratings.csv.gz'}: separator: '|' (detected)",
        f"{path / 'items.csv'}: separator: ';' (detected)",
    )
    (path / "items.csv").unlink()
    folder({"ratings.csv.gz": gzip.compress(b"user,item\na,7\n")})
    assert rows(load(path=str(path))) == [{"user": "a", "item": 7}]


def test_wrong_options_of_a_table_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="Python knows no text encoding 'latin-99'"):
        FilesSource.Config(interactions={"path": "a.csv", "encoding": "latin-99"})
    with pytest.raises(ValidationError, match="at most 1 character"):
        FilesSource.Config(interactions={"path": "a.csv", "sep": "::"})

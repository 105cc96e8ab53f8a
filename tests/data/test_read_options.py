"""Files as shops write them: several files, compression, separators, encodings and headers, detected or set."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorarec.contracts import DataError, ReadOptions, read_table, reading_notes
from lorarec.data import json_rows, open_files, tables

ROWS = [{"user": "ann", "title": "Café; no. 5, red"}, {"user": "bob", "title": "Up"}]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


Write = Callable[[str, str | bytes], Path]


def rows(paths: Path | list[Path], **options: Any) -> list[dict[str, Any]]:
    return list(read_table(paths, options=ReadOptions(**options)).to_list())


def refusal(paths: Path | list[Path], **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        rows(paths, **options)
    return str(caught.value)


@pytest.mark.parametrize("sep", ["::", "", "§", "\n"])
def test_a_separator_is_one_ascii_character(sep: str, file: Write) -> None:
    assert f"a.csv: `sep: {sep!r}` is not one ASCII character" in refusal(file("a.csv", "user,item\n1,2\n"), sep=sep)


def test_files_are_joined_in_the_given_order_with_one_type_each_column(file: Write) -> None:
    a, b = file("a.csv", "user,item\n1,007\n"), file("b.csv", "item,user\n7,2\n")
    assert rows([b, a]) == [{"item": "7", "user": 2}, {"item": "007", "user": 1}]
    for name, values in (("a", [1, 2]), ("b", ["007"])):
        pq.write_table(pa.table({"item": values}), a.parent / f"{name}.parquet")
    assert rows([a.parent / "a.parquet", a.parent / "b.parquet"]) == [{"item": "1"}, {"item": "2"}, {"item": "007"}]
    one, two = file("a.jsonl", '{"item": 1}\n'), file("b.jsonl", '{"item": "007", "user": 3}\n')
    assert rows([one, two]) == [{"item": "1", "user": None}, {"item": "007", "user": 3}]


def test_a_suffix_may_be_written_in_capital_letters(file: Write) -> None:
    for name, content in (
        ("A.CSV", b"user\n1\n"),
        ("a.Csv.GZ", gzip.compress(b"user\n1\n")),
        ("a.JSONL", b'{"user": 1}'),
    ):
        assert rows(file(name, content)) == [{"user": 1}]
    assert "Rename a text file with columns to .csv or .tsv." in refusal(file("a.txt", "user\n1\n"))


def test_files_of_other_columns_or_formats_are_refused(file: Write) -> None:
    a, b, c = file("a.csv", "user\n1\n"), file("b.csv", "person\n1\n"), file("c.tsv", "user\n1\n")
    assert "b.csv: lacks 'user' and also has 'person', unlike" in refusal([a, b])
    assert "The files of a table have one format" in refusal([a, c])


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("zst", None)])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'user,title\nann,"Café; no. 5, red"\nbob,Up\n'),
        ("a.tsv", "user\ttitle\nann\tCafé; no. 5, red\nbob\tUp\n"),
        ("a.json", '[{"user": "ann", "title": "Café; no. 5, red"}, {"user": "bob", "title": "Up"}]'),
        ("a.jsonl", '{"user": "ann", "title": "Café; no. 5, red"}\n{"user": "bob", "title": "Up"}\n'),
    ],
)
def test_compressed_files_are_read_like_plain_ones_and_cut_ones_are_refused(
    name: str, text: str, suffix: str, pack: Callable[[bytes], bytes] | None, file: Write
) -> None:
    packed = pa.compress(text.encode(), "zstd", asbytes=True) if pack is None else pack(text.encode())
    path = file(f"{name}.{suffix}", packed)
    assert rows(path) == ROWS
    assert f"{name}.{suffix}: not a whole" in refusal(file(f"cut_{name}.{suffix}", packed[:-9]))


@pytest.mark.parametrize("sep", [";", "\t", "|"])
def test_a_separator_is_detected_where_all_rows_fit_it_and_named(sep: str, file: Write) -> None:
    text = 'user,title\nann,"Café; no. 5, red"\nbob,Up\n'.replace("user,", f"user{sep}").replace("ann,", f"ann{sep}")
    path = file("a.csv", text.replace("bob,", f"bob{sep}"))
    assert rows(path) == ROWS
    shown = "tab" if sep == "\t" else f"'{sep}'"
    assert reading_notes(path) == (f"{path}: separator: {shown} (detected)",)
    assert reading_notes(path, ReadOptions(sep=sep)) == () and rows(path, sep=sep) == ROWS


def test_rows_that_fit_two_separators_are_refused_with_both_readings(file: Write) -> None:
    path = file("a.csv", "a,b;c\n1,2;3\n")
    message = refusal(path)
    assert "['a', 'b;c']..., by ','" in message and "['a,b', 'c']..., by ';'" in message and "sep: ','" in message
    assert rows(path, sep=";") == [{"a,b": "1,2", "c": 3}]


def test_a_decimal_comma_does_not_hide_the_semicolon(file: Write) -> None:
    path = file("a.csv", "user;item;rating\na;x;4,5\nb;y;3,0\n")
    assert rows(path)[0] == {"user": "a", "item": "x", "rating": "4,5"}


def test_a_broken_row_is_named_by_the_separator_of_the_header(file: Write) -> None:
    assert "line 3: 3 fields, but line 1 names 2 columns (user, item)" in refusal(
        file("a.csv", "user;item\n1;2\n1;2;3\n")
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(("name", "text"), [("a.csv", "id,t\n1,é\n"), ("a.jsonl", '{"id": 1, "t": "é"}\n')])
def test_a_byte_order_mark_names_the_encoding(encoding: str, name: str, text: str, file: Write) -> None:
    path = file(name, text.encode(encoding))
    assert rows(path) == [{"id": 1, "t": "é"}]
    note = f"{path}: encoding: {encoding} (by its byte order mark)"
    assert reading_notes(path) == (() if encoding == "utf-8-sig" else (note,))


def test_the_refusal_of_bytes_that_are_no_utf8_shows_the_readings_of_other_encodings(file: Write) -> None:
    path = file("a.csv", "id,t\n1,Łódź\n".encode("cp1250"))
    assert "`encoding: cp1250` (Central European Windows) reads 'Łódź'" in refusal(path)
    path = file("a.csv", "id,t\n1,the “Fiancée” 5 €\n".encode("cp1252"))
    assert "`encoding: cp1252` (Western European Windows) reads '“Fiancée”'" in refusal(path)
    assert "set its encoding where the recipe names it, as in `interactions: {path: a.csv, encoding: " in refusal(path)
    path = file("a.csv", b"id,t\n1,\x81\xff\x9d\n")
    assert refusal(path).endswith("names it, as in `interactions: {path: a.csv, encoding: NAME}`.")


def test_a_set_encoding_that_reads_other_characters_is_noted(file: Write) -> None:
    def notes(content: bytes, encoding: str, name: str = "a.csv") -> str:
        return "\n".join(reading_notes(file(name, content), ReadOptions(encoding=encoding)))

    text = "id,t\n" + "1,x\n" * 100_000 + "2,Fiancé “€”\n"
    for encoding in ("latin-1", "cp1252"):
        assert f"`encoding: {encoding}` is set, but the file is UTF-8: é is read as Ã©" in notes(
            text.encode(), encoding
        )
    assert "but the file is UTF-8" in notes(b'{"t": "\xc3\xa9"}\n', "latin-1", "a.jsonl")
    assert "makes control characters of “, ”, €: `encoding: cp1252` reads them" in notes(
        text.encode("cp1252"), "latin-1"
    )
    for content, encoding in ((text.encode("cp1252"), "cp1252"), (b"id\n7\n", "latin-1"), (b"t\n\xe9\n", "latin-1")):
        assert notes(content, encoding) == ""
    assert notes(b"t\n\xe9\xc3", "latin-1") == "" and notes(b"t\nx\xc3", "latin-1") == "", "cut in a character"


def test_other_encodings_are_set_and_the_message_says_so(file: Write) -> None:
    path = file("a.csv", "id,t\n1,x\n2,é\n".encode("cp1252"))
    assert "a.csv, line 3: byte 0xe9 at position 3 is not UTF-8." in refusal(path) and "cp1252" in refusal(path)
    assert rows(path, encoding="cp1252")[1] == {"id": 2, "t": "é"}
    marked = file("b.csv", "id,t\n1,x\n".encode("utf-8-sig"))
    assert "Leave `encoding` out" in refusal(marked, encoding="latin-1")
    wide = file("c.csv", "id,t\n1,x\n".encode("utf-16-le"))
    assert "NUL" in refusal(wide) and rows(wide, encoding="utf-16-le") == [{"id": 1, "t": "x"}]


def test_a_file_without_a_header_is_read_by_the_given_names(file: Write) -> None:
    path = file("a.csv", "ann;m1\nbob;m2\n")
    assert rows(path, header=("user", "item")) == [{"user": "ann", "item": "m1"}, {"user": "bob", "item": "m2"}]
    assert "`header`: 3 names (a, b, c), but line 1 has 2 fields" in refusal(path, sep=";", header=("a", "b", "c"))
    assert "the column 'a' appears twice" in refusal(path, header=("a", "a"))
    assert "Leave `header` out" in refusal(path, header=("ann", "m1"))


def test_a_json_file_may_have_an_object_per_line(file: Write) -> None:
    path = file("a.json", '{"a": 1}\n{"a": 2}\n')
    assert rows(path) == [{"a": 1}, {"a": 2}]
    assert reading_notes(path) == (f"{path}: one object per line (detected)",)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.csv", b"a\0b,c\n1,2\n", "a column name has a NUL character"),
        ("a.csv", b"a,b\n1,2\0\n", "a NUL byte"),
        ("a.jsonl", b'{"a\\u0000b": 1}\n', "has a NUL character in its name"),
        ("a.csv", gzip.compress(b"a,b\n1,2\n"), "compressed by gzip: call it .csv.gz"),
        ("a.csv", b"PK\x03\x04....", "a zip archive or an Excel workbook"),
        ("a.csv.gz", b"a,b\n1,2\n", "not a whole gzip file"),
        ("a.csv", "a,b\n1,2".encode("utf-16")[:-1], "Set `encoding` to that of the file"),
    ],
)
def test_files_that_are_no_text_are_refused(name: str, content: bytes, wanted: str, file: Write) -> None:
    assert wanted in refusal(file(name, content))


@pytest.mark.parametrize("sep", [",", "\t"])
def test_rows_with_too_many_or_too_few_fields_are_refused_or_left_out_and_counted(sep: str, file: Write) -> None:
    text = f'user{sep}item\na{sep}x\nb{sep}y{sep}z\n\nc\n"d"{sep}w\n'
    path = file("a.tsv" if sep == "\t" else "a.csv", text)
    assert "line 3: 3 fields, but line 1 names 2 columns" in refusal(path)
    assert "`on_bad_lines: skip`" in refusal(path, on_bad_lines="error")
    kept = rows(path, on_bad_lines="skip")
    assert [row["item"] for row in kept] == ["x", "w"] and kept[1]["user"] == ("d" if sep == "," else '"d"')
    note = "2 rows of too many or too few fields left out, first line 3 (on_bad_lines: skip)"
    assert reading_notes(path, ReadOptions(on_bad_lines="skip")) == (f"{path}: {note}",)
    assert reading_notes(file("b.csv", "user,item\n1,2\n"), ReadOptions(on_bad_lines="skip")) == ()
    assert "does nothing for jsonl" in refusal(file("a.jsonl", '{"a": 1}\n'), on_bad_lines="skip")


def test_rows_that_are_left_out_are_counted_once_for_each_content(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[Path] = []
    skipped = tables.skipped_note
    monkeypatch.setattr(tables, "skipped_note", lambda file: (passes.append(file.path), skipped(file))[1])
    options = ReadOptions(on_bad_lines="skip")
    for line, times in (("b\n", 1), ("b,2\n", 2)):
        path = file("a.csv", "user,item\n" + line)
        notes = reading_notes(path, options)
        assert reading_notes(path, options) == notes and len(passes) == times
        assert bool(notes) == (line == "b\n")


def test_a_list_of_json_is_read_as_a_whole_up_to_a_limit(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LONGEST_LIST", 1 << 20)
    path = file("a.json.gz", gzip.compress(b'[{"a": "' + b"x" * 2_000_000 + b'"}]'))
    assert "a list of more than 1 MiB, which is read as a whole" in refusal(path)


def test_a_line_or_field_longer_than_a_block_is_refused(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "BLOCK", 1 << 20)
    assert "a line is longer than 1 MiB" in refusal(file("a.csv", "a,b\n1," + "x" * 3_000_000 + "\n"))
    assert "line 1 is longer than 1 MiB" in refusal(file("a.csv", "a," + "x," * 1_000_000 + "\n1,2\n"))
    assert "a line is longer than 1 MiB" in refusal(file("a.csv", "a,b\n1,2\n" + "," * 9_000_000 + "\n"))
    assert "line 1: longer than 1 MiB" in refusal(file("a.jsonl", '{"a": "' + "x" * 3_000_000 + '"}\n'))
    assert rows(file("b.csv", 'a,b\n1,"' + "x" * 200_000 + '"\n'))[0]["b"] == "x" * 200_000


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_read_and_the_last_one_may_be_missing(end: str, file: Write) -> None:
    assert rows(file("a.csv", end.join(["a,b", "1,2", "3,x"]))) == [{"a": 1, "b": "2"}, {"a": 3, "b": "x"}]
    bad = end.join(["a,b", "1,2", "3"])
    assert "line 3: 1 fields" in refusal(file("b.csv", bad))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jsonl", {"sep": ";"}), ("a.json", {"header": ("a",)}), ("a.parquet", {"encoding": "cp1252"})],
)
def test_options_that_do_nothing_for_a_format_are_refused(name: str, options: dict[str, Any], file: Write) -> None:
    assert "does nothing for" in refusal(file(name, "x"), **options)


def test_types_that_datasets_lack_are_read_as_plain_ones(tmp_path: Path) -> None:
    columns = {
        "view": pa.array(["a"], pa.string_view()),
        "listed": pa.array([[[("x", 1)]]], pa.list_(pa.map_(pa.string(), pa.int64()))),
        "small": pa.array(["1.5"]).cast(pa.decimal128(3, 1)),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (row,) = rows(tmp_path / "a.parquet")
    assert row["view"] == "a" and isinstance(row["listed"], str) and float(row["small"]) == 1.5


def test_a_table_has_a_bounded_number_of_columns(file: Write) -> None:
    many = [f"c{number}" for number in range(10_001)]
    assert "10,001 columns, but a table has at most 10,000" in refusal(file("a.csv", f"{','.join(many)}\n"))
    rows = "".join(json.dumps({name: 1}) + "\n" for name in many)
    assert "more than 10,000 different fields" in refusal(file("a.jsonl", rows))


def test_empty_lines_without_end_are_refused(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MOST_BLANKS", 100)
    assert rows(file("a.jsonl", '{"a": 1}\n' + "\n" * 100 + '{"a": 2}\n')) == [{"a": 1}, {"a": 2}]
    assert "more than 100 empty lines follow line 1" in refusal(file("b.jsonl", '{"a": 1}\n' + "\n" * 101))

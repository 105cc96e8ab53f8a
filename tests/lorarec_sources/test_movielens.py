"""The source `movielens`."""

from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lorarec.contracts import DataError, RawTables, cache_folder
from lorarec_sources import movielens
from lorarec_sources.movielens import MovieLensSource
from lorarec_sources.titles import ParsedTitle, parse_title

Write = Callable[[dict[str, str | bytes]], Path]
DATA = "1\t2\t3\t880000000\n2\t1\t5\t880000001\n"
FLAGS_COMEDY = "0|0|0|0|0|1" + "|0" * 13
ITEM = f"1|Amélie, Le (2001)|01-Jan-2001||http://x|{FLAGS_COMEDY}\n2|unknown||||{'1' + '|0' * 18}\n".encode("latin-1")
USER = "1|24|M|writer|85711\n2|30|F|other|00501\n"


def load(**options: Any) -> RawTables:
    return MovieLensSource(MovieLensSource.Config(**options)).load()


def refusal(**options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(**options)
    return str(caught.value)


def test_the_folder_of_100k_is_read_with_its_accents_genres_and_splits(folder: Write) -> None:
    path = folder({"u.data": DATA, "u.item": ITEM, "u.user": USER, "u1.test": "2\t1\t5\t880000001\n"})
    tables = load(path=str(path))
    assert tables.interactions.to_list() == [
        {"user_id": 1, "item_id": 2, "rating": 3.0, "timestamp": 880000000, "u1_test": False},
        {"user_id": 2, "item_id": 1, "rating": 5.0, "timestamp": 880000001, "u1_test": True},
    ]
    assert tables.items is not None and tables.users is not None
    first, second = tables.items.to_list()
    assert (first["title"], first["name"], first["year"]) == ("Amélie, Le (2001)", "Le Amélie", 2001)
    assert first["genres"] == ["Comedy"] and first["video_release_date"] is None
    assert (second["name"], second["year"], second["genres"]) == ("unknown", None, ["unknown"])
    assert tables.users["zip_code"][:] == ["85711", "00501"]
    assert tables.columns["time"] == "timestamp" and tables.item_text == "{name} ({year}). {genres}"


def test_dat_files_are_separated_by_double_colons(folder: Write) -> None:
    path = folder(
        {
            "ratings.dat": "1::2::3.5::978300760\n",
            "movies.dat": "2::GoldenEye: 007 (1995)::Action|Thriller\n",
            "users.dat": "1::F::1::10::48067\n",
        }
    )
    tables = load(path=str(path))
    assert tables.interactions["rating"][:] == [3.5]
    assert tables.items is not None and tables.items["genres"][:] == [["Action", "Thriller"]]
    assert tables.users is not None and tables.users["age"][:] == [1]


def test_csv_files_get_the_same_column_names(folder: Write) -> None:
    path = folder(
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,978300760\n",
            "movies.csv": 'movieId,title,genres\n2,"American President, The (1995)",(no genres listed)\n',
        }
    )
    tables = load(path=str(path))
    assert tables.interactions.column_names == ["user_id", "item_id", "rating", "timestamp"]
    assert tables.items is not None
    assert tables.items.to_list()[0]["name"] == "The American President"
    assert tables.items.to_list()[0]["genres"] == []


@pytest.mark.parametrize(
    ("title", "name", "year"),
    [
        ("Godfather, The (1972)", "The Godfather", 1972),
        ("Star Maker, The (Uomo delle stelle, L') (1995)", "The Star Maker (L'Uomo delle stelle)", 1995),
        ("Two Friends (1986) ", "Two Friends", 1986),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("Paris, Texas (1984)", "Paris, Texas", 1984),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("2001: A Space Odyssey", "2001: A Space Odyssey", None),
    ],
)
def test_titles_are_parsed_into_name_and_year(title: str, name: str, year: int | None) -> None:
    assert parse_title(title) == ParsedTitle(name, year)


def test_parquet_original_and_recbole_files_have_the_same_ratings(real: Callable[[str], Path]) -> None:
    from lorarec_sources.recbole import RecBoleSource

    path = real("ml-100k")
    parquet, original = load(path=str(path)), load(path=str(path / "raw"))
    atomic = RecBoleSource(RecBoleSource.Config(path=str(path / "recbole"))).load()
    names = ["user_id", "item_id", "rating", "timestamp"]

    def columns(tables: RawTables) -> list[list[float]]:
        return [[float(value) for value in tables.interactions[name][:]] for name in names]

    assert len(parquet.interactions) == 100_000
    assert columns(parquet) == columns(original) == columns(atomic)
    assert sum(parquet.interactions["u1_test"][:]) == 20_000
    assert parquet.items is not None and original.items is not None and atomic.items is not None
    assert parquet.items.to_list() == original.items.to_list()
    assert atomic.items["item_id"][:] == [str(item) for item in original.items["item_id"][:]]
    assert parquet.users is not None and original.users is not None
    assert parquet.users.to_list() == original.users.to_list()


def test_wiki_summaries_are_joined_by_title_or_refused(folder: Write) -> None:
    path = folder({"u.data": DATA, "u.item": ITEM})
    assert "item_wiki.parquet: there is no such file" in refusal(path=str(path), wiki=True)
    pq.write_table(pa.table({"title": ["Amélie, Le (2001)"], "wiki_summary": ["A film."]}), path / "item_wiki.parquet")
    tables = load(path=str(path), wiki=True)
    assert tables.items is not None and tables.items["wiki_summary"][:] == ["A film.", None]
    assert tables.item_text is not None and "{wiki_summary}" in tables.item_text


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"u.data": DATA}, "u.item: there is no such file"),
        (
            {"u.data": "1\t2\t3\t4\n1\t2\tx\t4\n", "u.item": ITEM},
            "u.data, line 2: '1\\t2\\tx\\t4' is not user",
        ),
        ({"u.data": "1\t2\t3\t4\n1\t2\t3\n", "u.item": ITEM}, "u.data, line 2: "),
        ({"u.data": "", "u.item": ITEM}, "u.data: the file is empty"),
        ({"u.data": DATA, "u.item": "1|x\n"}, "u.item, line 1: 2 fields"),
        (
            {"u.data": DATA, "u.item": ITEM, "u2.test": "9\t9\t5\t1\n"},
            "u2.test, line 1: this user and item are not",
        ),
        (
            {"ratings.dat": "1::2::3::4\n", "movies.dat": "x::y::z\n"},
            "movies.dat, line 1: 'x' is not a whole",
        ),
        (
            {"ratings.csv": "user,movieId\n1,2\n", "movies.csv": "a\n"},
            "ratings.csv, line 1: no column 'userId'",
        ),
        ({"other.txt": ""}, "not a MovieLens folder"),
    ],
)
def test_damaged_folders_are_refused_with_file_and_line(
    files: dict[str, str | bytes], wanted: str, folder: Write
) -> None:
    assert wanted in refusal(path=str(folder(files)))


def test_only_sets_with_a_fixed_checksum_are_downloaded() -> None:
    with pytest.raises(ValidationError, match=r"change over time.*set `path`"):
        MovieLensSource.Config(variant="ml-latest-small")


def test_an_unreachable_server_leads_to_the_path_option(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    message = refusal()
    assert "ml-100k.zip: could not be downloaded" in message and "data.source.path=FOLDER" in message


def test_a_download_is_checked_unpacked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        for name, text in {"u.data": DATA, "u.item": ITEM, "u.user": USER}.items():
            content.writestr(f"ml-100k/{name}", text)
    addresses: list[str] = []

    def answer(address: str, timeout: float) -> io.BytesIO:
        addresses.append(address)
        return io.BytesIO(archive.getvalue())

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert "MD5" in refusal() and not list((cache_folder() / "movielens").iterdir())
    checksum = hashlib.md5(archive.getvalue()).hexdigest()
    monkeypatch.setitem(movielens.CHECKSUMS, "ml-100k", checksum)
    assert len(load().interactions) == len(load().interactions) == 2
    (kept,) = (cache_folder() / "movielens").iterdir()
    kept.write_bytes(kept.read_bytes()[:-9])
    assert len(load().interactions) == 2
    assert addresses == ["https://files.grouplens.org/datasets/movielens/ml-100k.zip"] * 3

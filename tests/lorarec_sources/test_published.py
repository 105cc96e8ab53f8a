"""The source `published`, and the lines of docs/data.md about public data sets."""

from __future__ import annotations

import gzip
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorarec.contracts import DataError, RawTables
from lorarec.data.raw_tables import NumberedTables, number_tables
from lorarec.registry.registry import Registry
from lorarec.testing import check_data_source
from lorarec_sources.published import LAYOUTS, PublishedSource


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


BEHAVIORS = (
    "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-0 N4-1\n"
    "2\tU2\t11/12/2019 6:11:30 PM\t\tN1-1 N3-0 N2-0\n"
    "3\tU1\t11/13/2019 12:00:01 AM\tN1 N2 N4\tN2-0 N3-1\n"
)  # fmt: skip
NEWS = (
    'N1\tlifestyle\troyals\t"The Brands" They Swear By\tShop the notebooks.\thttps://x\t[{"Label": "A"}]\t[]\n'
    "N2\thealth\tweight\t50 Worst Habits\tThey say 'no'.\thttps://y\t[]\t[]\n"
    "N3\tnews\tworld\tThe Cost of Trump's Aid\t\thttps://z\t[]\t[]\n"
    "N4\tsports\tnfl\tA Tie, Again\tIt ended.\thttps://w\t[]\t[]\n"
)
SETS: dict[str, dict[str, str | bytes]] = {
    "mind": {"behaviors.tsv": BEHAVIORS, "news.tsv": NEWS},
    "amazon2023": {
        "All_Beauty.jsonl.gz": gzip.compress(
            lines(
                {"rating": 5.0, "title": "Nice", "text": "ok", "images": [], "asin": "B1", "parent_asin": "B00P",
                 "user_id": "AE2", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True},
                {"rating": 2.0, "title": "No", "text": "", "images": [{"small_image_url": "u"}], "asin": "B2",
                 "parent_asin": "B00Q", "user_id": "AE2", "timestamp": 1588687728000, "helpful_vote": 3,
                 "verified_purchase": False},
            ).encode()
        ),
        "meta_All_Beauty.jsonl.gz": gzip.compress(
            lines(
                {"main_category": "All Beauty", "title": "Hair Mask", "average_rating": 4.8, "features": [],
                 "description": ["a", "b"], "price": None, "details": {"Brand": "X"}, "parent_asin": "B00P"},
                {"main_category": "All Beauty", "title": "Brush", "average_rating": 4.0, "features": ["soft"],
                 "description": [], "price": "9.99", "details": {}, "parent_asin": "B00Q"},
            ).encode()
        ),
    },
    "yelp": {
        "yelp_academic_dataset_review.json": lines(
            {"review_id": "r1", "user_id": "u-1", "business_id": "b_1", "stars": 3.0, "useful": 0, "text": "If you",
             "date": "2018-07-07 22:09:11"},
            {"review_id": "r2", "user_id": "u-2", "business_id": "b_2", "stars": 5.0, "useful": 1, "text": "Good",
             "date": "2012-01-03 15:28:18"},
        ),
        "yelp_academic_dataset_business.json": lines(
            {"business_id": "b_1", "name": "Turning Point", "city": "Wales", "attributes": {"WiFi": "u'no'"},
             "categories": "Restaurants, Breakfast", "hours": None},
            {"business_id": "b_2", "name": "Kettle", "city": "Reno", "attributes": None, "categories": "Tea",
             "hours": {}},
        ),
    },
    "steam": {
        "steam_new.json.gz": gzip.compress(
            b"{u'username': u'Chaos', u'product_id': u'725280', u'date': u'2017-12-17', u'text': u'\\xe9'}\n"
            b"{u'username': u'Ariman', u'hours': 13.2, u'product_id': u'328100', u'date': u'2018-08-02'}\n"
        ),
        "steam_games.json.gz": gzip.compress(
            b"{u'publisher': u'K', u'genres': [u'Action', u'Indie'], u'app_name': u'Lost', u'id': u'725280'}\n"
            b"{u'app_name': u'Snow', u'id': u'328100', u'price': 4.99}\n"
        ),
    },
    "steam_kaggle": {
        "recommendations.csv": (
            "app_id,helpful,funny,date,is_recommended,hours,user_id,review_id\n"
            "975370,0,0,2022-12-12,true,36.3,51580,0\n304390,4,0,2017-02-17,false,11.5,2586,1\n"
        ),
        "games.csv": (
            "app_id,title,date_release,win,rating\n975370,Dwarf Fortress,2022-12-06,true,Positive\n"
            '304390,"FOR HONOR, ™",2017-02-13,true,Mixed\n'
        ),
    },
    "book_crossing": {
        "BX-Book-Ratings.csv": (
            '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"0155061224";"5"\n'
        ),
        "BX-Books.csv": (
            '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication"\n'
            '"034545104X";"Flesh \\"Tones\\"; A Novel";"M. J. Rose";"2002"\n'
            '"0155061224";"Rites of Pass\xe9e";"Judith Rae";"2001"\n'
        ).encode("cp1252"),
    },
    "book_crossing_kaggle": {
        "Ratings.csv": "User-ID,ISBN,Book-Rating\n276725,034545104X,0\n276726,0155061224,5\n",
        "Books.csv": "ISBN,Book-Title,Book-Author\n034545104X,Flesh,M. J. Rose\n0155061224,Rites,Judith Rae\n",
    },
    "goodreads": {
        "goodreads_interactions_poetry.json.gz": gzip.compress(
            lines(
                {"user_id": "88", "book_id": "18", "review_id": "a", "is_read": True, "rating": 5,
                 "date_added": "Wed Mar 22 11:37:04 -0700 2017"},
                {"user_id": "88", "book_id": "24", "review_id": "b", "is_read": False, "rating": 0,
                 "date_added": "Thu Jan 01 02:00:00 +0530 1970"},
            ).encode()
        ),
        "goodreads_books_poetry.json.gz": gzip.compress(
            lines(
                {"book_id": "18", "title": "Odes", "authors": [{"author_id": "1"}]},
                {"book_id": "24", "title": "Psalms", "authors": []},
            ).encode()
        ),
    },
    "lastfm_1k": {
        "userid-timestamp-artid-artname-traid-traname.tsv": (
            'user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep "Dish"\t\tFuck Me Im Famous\n'
            "user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t坂本龍一\t\tComposition 0919\n"
        )
    },
    "otto": {
        "train.jsonl": lines(
            {"session": 0, "events": [{"aid": 1517085, "ts": 1659304800025, "type": "clicks"},
                                      {"aid": 1563459, "ts": 1659304904511, "type": "carts"}]},
            {"session": 1, "events": [{"aid": 1517085, "ts": 1659304800500, "type": "orders"}]},
        )
    },
    "yambda": {
        "multi_event.parquet": table(uid=[7, 7], timestamp=[10, 5], item_id=[3, 4], event_type=["like", "listen"])
    },
    "yambda_sequential": {"likes.parquet": table(uid=[7, 9], timestamp=[[5, 10], [5]], item_id=[[3, 4], [4]])},
    "hm": {
        "transactions_train.csv": (
            "t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,000058a12d,0663713001,0.0508,2\n"
            "2018-09-21,000058a12d,0541518023,0.0304,2\n"
        ),
        "articles.csv": (
            "article_id,prod_name,product_type_name,colour_group_name,detail_desc\n"
            '0663713001,Atlanta Push,Underwear body,Black,"Lace, and more"\n0541518023,Rae Push,Bra,Pink,\n'
        ),
    },
    "ml-32m": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,17,4.0,944249077\n2,25,1.0,944250228\n",
        "movies.csv": 'movieId,title,genres\n17,Sense (1995),Drama|Romance\n25,"City, The (1995)",Drama\n',
        "tags.csv": "userId,movieId,tag,timestamp\n22,26479,Kevin Kline,1583038886\n",
        "links.csv": "movieId,imdbId,tmdbId\n17,0114388,4584\n25,0113627,451\n",
    },
    "timed": {
        "interactions.parquet": table(user_id=["a", "b"], item_id=["B01", "B02"], timestamp=[1388534400, 1388534401]),
        "items.parquet": table(item_id=["B01", "B02"], title=["Soap", "Rose & Lily"]),
    },
}  # fmt: skip
DOCS = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<title>[^|]+) \| `source: \{name: (?P<name>\w+), path: (?P<path>[\w/.-]+)[^`]*`")


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def load(path: Path) -> RawTables:
    return PublishedSource(PublishedSource.Config(path=str(path))).load()


def rows(raw: RawTables) -> list[dict[str, Any]]:
    return [dict(row) for row in raw.interactions]


def texts(raw: RawTables) -> list[str]:
    return numbered(raw).catalog.texts()


def numbered(raw: RawTables) -> NumberedTables:
    return number_tables(raw)


PUBLISHED = [name for name in SETS if name not in ("ml-32m", "timed")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_set_is_recognized_by_its_files_and_read(name: str, tmp_path: Path) -> None:
    raw = load(write(tmp_path, SETS[name]))
    tables = numbered(raw)
    assert len(tables.catalog) >= 2 and len(tables.user_ids) >= 1
    assert not tables.empty_texts and (raw.items is None or not tables.items_without_text)
    assert "read as" in raw.notes[0]
    check_data_source(PublishedSource(PublishedSource.Config(path=str(tmp_path))))


def test_impressions_become_clicks_with_their_history(tmp_path: Path) -> None:
    raw = load(write(tmp_path, SETS["mind"]))
    events = raw.interactions.to_dict()
    assert events["item"] == ["N3", "N4", "N1", "N3", "N2", "N2", "N3"]
    assert events["click"] == [0, 1, 1, 0, 0, 0, 1]
    assert events["user"] == ["U1"] * 2 + ["U2"] * 3 + ["U1"] * 2
    assert events["history"] == [["N1", "N2"]] * 2 + [[]] * 3 + [["N1", "N2", "N4"]] * 2
    assert [time.isoformat() for time in events["time"][::2]] == [
        "2019-11-11T09:05:58",
        "2019-11-12T18:11:30",
        "2019-11-12T18:11:30",
        "2019-11-13T00:00:01",
    ]
    assert texts(raw)[0] == '"The Brands" They Swear By'


def test_the_development_folder_of_mind_is_the_test_part(tmp_path: Path) -> None:
    more = "N2\tagain\t\tListed before\t\t\t[]\t[]\nN9\tnews\t\tOnly in the second\t\t\t[]\t[]\n"
    folders = {"MINDsmall_train/behaviors.tsv": BEHAVIORS, "MINDsmall_train/news.tsv": NEWS}
    folders |= {
        "MINDsmall_dev/behaviors.tsv": "9\tU3\t11/15/2019 1:00:00 AM\tN1\tN9-1\n",
        "MINDsmall_dev/news.tsv": more,
    }
    raw = load(write(tmp_path, folders))
    assert raw.interactions["split"][:] == ["test"] + ["train"] * 7
    assert raw.items is not None and sorted(raw.items["item"][:]) == ["N1", "N2", "N3", "N4", "N9"]
    write(tmp_path, {"large_test/behaviors.tsv": BEHAVIORS, "large_test/news.tsv": NEWS})
    with pytest.raises(DataError, match="The test part of MIND has no clicks"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("N4-1", "N4", r"row 1, column 'impressions': 'N4' is not an item with -1"),
        ("N1-1 N3-0", "N1-1 N3-2", r"row 2, column 'impressions': 'N3-2'"),
        ("11/13/2019", "13/11/2019", r"row 3: the time '13/11/2019 12:00:01 AM' is not as in"),
    ],
)
def test_a_bad_impression_is_named_by_row(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, {"behaviors.tsv": BEHAVIORS.replace(old, new), "news.tsv": NEWS}))


def test_ids_keep_leading_zeros_and_letters(tmp_path: Path) -> None:
    for name, expected in (("hm", "0663713001"), ("book_crossing", "034545104X"), ("yelp", "b_1")):
        assert numbered(load(write(tmp_path / name, SETS[name]))).catalog.ids[0] == expected


def test_texts_are_those_of_the_item_file(tmp_path: Path) -> None:
    def text(name: str) -> str:
        return texts(load(write(tmp_path / name, SETS[name])))[0]

    assert text("book_crossing") == 'Flesh "Tones"; A Novel by M. J. Rose'
    assert text("steam") == "Lost (Action, Indie)"
    assert text("yelp") == "Turning Point (Restaurants, Breakfast)"
    assert text("hm") == "Atlanta Push (Underwear body, Black). Lace, and more"
    assert text("lastfm_1k") == 'Deep "Dish"'


def test_games_of_steam_without_an_id_or_of_one_id_are_listed_once(tmp_path: Path) -> None:
    more = b"{u'app_name': u'Lost again', u'id': u'725280'}\n{u'app_name': u'No id'}\n"
    games = gzip.decompress(SETS["steam"]["steam_games.json.gz"]) + more
    tables = load(write(tmp_path, {**SETS["steam"], "steam_games.json.gz": gzip.compress(games)}))
    assert tables.items is not None and tables.items["app_name"][:] == ["Lost", "Snow"]
    assert any("further lines of a game, are left out" in note for note in tables.notes)


def test_times_of_goodreads_are_in_seconds_with_their_zone(tmp_path: Path) -> None:
    assert load(write(tmp_path, SETS["goodreads"])).interactions["time"][:] == [1490207824, -12600]
    broken = lines(*[{"user_id": "a", "book_id": "1", "rating": 1, "date_added": "2017-03-22"}] * 2)
    write(tmp_path, {"goodreads_interactions_poetry.json.gz": gzip.compress(broken.encode())})
    with pytest.raises(DataError, match="row 1: date_added is '2017-03-22'"):
        load(tmp_path)


def test_sessions_and_lists_become_events(tmp_path: Path) -> None:
    events = load(write(tmp_path / "otto", SETS["otto"])).interactions.to_dict()
    assert events["session"] == [0, 0, 1] and events["type"] == ["clicks", "carts", "orders"]
    assert events["time"] == [1659304800.025, 1659304904.511, 1659304800.5]
    assert rows(load(write(tmp_path / "yambda", SETS["yambda_sequential"]))) == [
        {"uid": 7, "timestamp": 5, "item_id": 3},
        {"uid": 7, "timestamp": 10, "item_id": 4},
        {"uid": 9, "timestamp": 5, "item_id": 4},
    ]


def test_lists_of_different_lengths_in_a_row_are_refused(tmp_path: Path) -> None:
    uneven = table(uid=[7, 9], timestamp=[[5], [5, 10]], item_id=[[3, 4], [4]])
    with pytest.raises(DataError, match="row 1: 'item_id' has 2 elements, but 'timestamp' has 1"):
        load(write(tmp_path, {"likes.parquet": uneven}))


def test_lines_that_are_no_python_dictionary_are_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in ("__import__('os').system('touch hacked')\n", "[1]\n", "{" * 5000 + "\n", "\n"):
        files = SETS["steam"] | {"steam_new.json.gz": gzip.compress(line.encode())}
        with pytest.raises(DataError, match="line 1: not a dictionary of Python"):
            load(write(tmp_path, files))
    assert not Path("hacked").exists()


def test_lines_that_are_cut_or_no_utf8_are_refused(tmp_path: Path) -> None:
    whole = SETS["steam"]["steam_new.json.gz"]
    assert isinstance(whole, bytes)
    for content, message in ((whole[:40], "not a whole gzip file"), (gzip.compress(b"{'a': '\xff'}\n"), "not UTF-8")):
        with pytest.raises(DataError, match=message):
            load(write(tmp_path, SETS["steam"] | {"steam_new.json.gz": content}))


def test_sessions_of_another_form_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not sessions of OTTO"):
        load(write(tmp_path, {"train.jsonl": lines({"session": "a", "events": 5})}))


def test_an_unknown_folder_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv.*MIND: behaviors\.tsv and news\.tsv.*source `files`"):
        load(write(tmp_path, {"a.csv": "x\n"}))


def test_of_several_files_the_path_names_one(tmp_path: Path) -> None:
    write(tmp_path, SETS["yambda"] | SETS["yambda_sequential"])
    with pytest.raises(DataError, match=r"likes\.parquet, multi_event\.parquet.*Set `path`"):
        load(tmp_path)
    assert len(load(tmp_path / "likes.parquet").interactions) == 3


def test_of_several_books_files_one_is_chosen_by_no_guess(tmp_path: Path) -> None:
    content = SETS["goodreads"]["goodreads_books_poetry.json.gz"]
    write(tmp_path, SETS["goodreads"] | {"goodreads_books_comics.json.gz": content})
    with pytest.raises(DataError, match="leave the items of one data set"):
        load(tmp_path)


def documented() -> list[tuple[str, str, str]]:
    return [match.group("title", "name", "path") for line in DOCS.splitlines() if (match := ROW.match(line))]


@pytest.mark.parametrize(("title", "name", "path"), documented())
def test_the_documented_line_of_each_set_reads_it(
    title: str, name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for each, files in SETS.items():
        write(tmp_path / each, files)
    source = Registry.discover().find("source", name)
    loaded = source(source.Config(path=path)).load()  # type: ignore[attr-defined]
    if name == "files":
        loaded = replace(loaded, columns={"user": "user_id", "item": "item_id", "time": "timestamp"})
    assert len(numbered(loaded).catalog) >= 2


def test_every_layout_is_documented() -> None:
    titles = {title for title, _, _ in documented()}
    assert {layout.title for layout in LAYOUTS} <= titles


def test_mind_of_microsoft_is_read(real: Any) -> None:
    raw = load(real("mind-small-sample"))
    assert len(raw.interactions) == 189_359 and sum(raw.interactions["click"][:]) == 7_542
    assert raw.items is not None and len(raw.items) == 2_000

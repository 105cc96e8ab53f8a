"""Mutants of tables of every format: each is refused by one message, or read as an independent reader reads it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorarec.pipeline import check
from lorarec.pipeline.assemble import RunData, gather_run_data

Refused = Callable[..., str | None]
Table = dict[str, list[Any]]
RECIPE = """name: shop
data:
  source: {name: files, interactions: %s, items: %s}
  split: {by: random, validation: 0, test: 0.3}
backbone: {name: sasrec}
adapter: full
head: next_item
"""
IDS = [
    *(
        "007",
        "7",
        "+5",
        "5",
        "12E4",
        "120000",
        "0x1F",
        "-0",
        "0",
        "NA",
        "None",
        "null",
        "nan",
        "True",
        " a ",
        "é",
        "💥",
    ),
    *("a,b", "a;b", "a|b", 'say "hi"', "=cmd()", "ﬁ", "e\u0301", "9007199254740993", "x" * 300, "#", "{a}", "\\N"),
]
TITLES = ["Heat", "Alien; the 1st", "R&B, <b>live</b>", 'a "b" c', "Tom &amp; Jerry", "日本語", "|", "'", ""]
CELLS = [
    *("1e308", "1e38", "-1e400", "inf", "nan", "NaN", "", " ", "\u00a0", "null", "1,234", "4,5", "$8", "8 €", "yes"),
    *("28/02/2013", "2013-02-30", "0000-00-00", "1.2.3", "٣", "2" * 70, str(2**70), "0x1p3", "1_000", "--", "x" * 5000),
    *("1970-01-01T00:00:00Z", "[1, 2]", '{"a": 1}', "1e-400", "+1", "1.", ".5", "\u200b", "\u2028", "\x1b[31m", "\x85"),
]
VALUES: list[Any] = [None, True, 1.5, 2**70, -(2**63), 1e308, [], [1], [[1]], {}, {"a": [1]}, "x", [None], ["a", 1]]
BYTES = [
    b"\0",
    b"\xff",
    b'"',
    b"\r",
    b"\n",
    b",",
    b";",
    b"\t",
    b"|",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\\",
    b"[",
    b"}",
]
PACKED = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress}
PACKED[".zst"] = lambda data: pa.compress(data, "zstd", asbytes=True)
SEPARATORS = ",;\t|"
WHOLE, DECIMAL = r"-?[1-9][0-9]*|0", r"0(\.0+)?|-?[1-9][0-9]{0,14}(\.[0-9]+)?|-?0\.[0-9]*[1-9][0-9]*"


@pytest.fixture(autouse=True)
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[RunData]:
    """The data that `check` read. It ends there: models are tested elsewhere."""
    read: list[RunData] = []

    class Report:
        def lines(self) -> list[str]:
            return read[-1].data.report.lines()

    def only_data(recipe: str, overrides: list[str]) -> Report:
        read.append(gather_run_data(check.open_recipe(recipe, overrides)))
        return Report()

    monkeypatch.setattr(check, "check", only_data)
    return read


def table(draw: Random) -> Table:
    """A valid table of events whose ids are hard to read."""
    rows = draw.randint(12, 40)
    ids = draw.sample(IDS, draw.randint(3, len(IDS)))
    return {
        "user": [draw.choice(ids) for _ in range(rows)],
        "item": [*ids[:3], *(draw.choice(ids) for _ in range(rows - 3))],
        "rating": [str(draw.randint(1, 5)) for _ in range(rows)],
        "time": [str(1_700_000_000 + row) for row in range(rows)],
    }


def as_csv(columns: Table, sep: str, end: str = "\n", header: bool = True) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=sep, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([[*columns]] if header else [])
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def as_json(columns: Table, lines: bool) -> str:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)


def written(draw: Random, columns: Table, stem: str) -> str:
    """Write a table in a random format; the options with which the source `files` reads it."""
    form = draw.choice(["csv", "csv", "tsv", "json", "jsonl", "parquet"])
    pack = draw.choice(list(PACKED))
    if form == "parquet":
        kind = draw.choice([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
        arrays = {name: pa.array(values).cast(kind) for name, values in columns.items()}
        pq.write_table(pa.table(arrays), f"{stem}.parquet", row_group_size=draw.choice([1, 7, 1000]))
        return f"{stem}.parquet"
    header = form != "csv" or draw.random() < 0.8
    if form == "tsv":
        text = "\n".join("\t".join(row) for row in [[*columns], *zip(*columns.values(), strict=True)])
    elif form == "csv":
        text = as_csv(columns, draw.choice(SEPARATORS), draw.choice(["\n", "\r\n", "\r"]), header)
    else:
        text = as_json(columns, form == "jsonl" or draw.random() < 0.5)
    encoding = draw.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])
    name = f"{stem}.{form}{pack}"
    Path(name).write_bytes(PACKED[pack](text.encode(encoding)))
    return name if header else f"{{path: {name}, header: [{', '.join(columns)}]}}"


def plain(values: list[str], form: str) -> list[str]:
    """Ids as written; where all of a csv column are spelled as floats, they lose their .0."""
    whole = all(re.fullmatch(WHOLE, value) for value in values)
    floats = form in ("csv", "tsv") and not whole and all(re.fullmatch(DECIMAL, value) for value in values)
    return [str(int(float(value))) for value in values] if floats else values


def recipe(interactions: str, items: str) -> str:
    Path("shop.yaml").write_text(RECIPE % (interactions, items), encoding="utf-8")
    return "shop.yaml"


@pytest.mark.parametrize("number", range(60))
def test_a_table_of_hard_ids_is_the_same_in_every_format(
    number: int, refused: Refused, gathered: list[RunData]
) -> None:
    draw = Random(number)
    events, items = table(draw), {"item": IDS, "title": [draw.choice(TITLES) for _ in IDS]}
    assert refused("check", recipe(written(draw, events, "events"), written(draw, items, "items"))) is None
    data = gathered[-1].data
    assert data.catalog.ids == IDS
    assert data.catalog.titles() == [title or name for title, name in zip(items["title"], IDS, strict=True)]
    assert [IDS[row] for row in data.interactions.item] == events["item"]
    users = data.interactions.user_ids.to_pylist()
    assert [users[row] for row in data.interactions.user] == events["user"]
    assert data.interactions.column("rating").tolist() == [float(value) for value in events["rating"]]
    assert data.interactions.column("time").tolist() == [float(value) for value in events["time"]]


def mutant(draw: Random) -> str:
    """Write a table with a mistake; the name of the file."""
    columns, form = table(draw), draw.choice(["csv", "csv", "tsv", "json", "jsonl", "jsonl", "parquet"])
    rows = len(columns["user"])
    for _ in range(draw.choice([0, 1, 1, 1, 3])):
        column = draw.choice([*columns])
        bad = draw.choice(VALUES if form in ("json", "jsonl") and draw.random() < 0.5 else CELLS)
        for row in range(rows) if draw.random() < 0.2 else [draw.randrange(rows)]:
            columns[column][row] = bad
    if form == "parquet":
        return _odd_parquet(draw, columns)
    if draw.random() < 0.2:
        column = draw.choice([*columns])
        odd = draw.choice(["", " ", "user", "item", "a\0b", "1", "x" * 3000, "{title}"])
        columns = {odd if name == column and odd not in columns else name: v for name, v in columns.items()}
    if form in ("json", "jsonl"):
        text = as_json(columns, form == "jsonl")
    else:
        text = as_csv(columns, "\t" if form == "tsv" else draw.choice(SEPARATORS), draw.choice(["\n", "\r\n", "\r"]))
        text = text.replace('"', "") if form == "tsv" else text
    data = bytearray(text.encode(draw.choice(["utf-8", "utf-8", "utf-8", "utf-16", "cp1252"]), "replace"))
    for _ in range(draw.choice([0, 0, 1, 2, 5])):
        where = draw.randrange(len(data))
        data[where : where + draw.choice([0, 1, 1, 40])] = draw.choice([draw.choice(BYTES), data[:30], b"[" * 3000])
    pack = draw.choice(["", "", "", ".gz", ".zst"])
    packed = PACKED[pack](bytes(data))
    if draw.random() < 0.1:
        packed = packed[: draw.randrange(len(packed))]
    Path(f"events.{form}{pack}").write_bytes(packed)
    return f"events.{form}{pack}"


def _odd_parquet(draw: Random, columns: Table) -> str:
    """A parquet file of columns of any type, perhaps cut."""
    one, words = pa.array([1, 2, 3, 1]), pa.array(["a", "b", "c", "a"])
    kinds = [one.cast(kind) for kind in (pa.uint8(), pa.int64(), pa.uint64(), pa.float32(), pa.decimal128(30, 2))]
    kinds += [one.cast(kind) for kind in (pa.timestamp("ns", "Asia/Tokyo"), pa.timestamp("s"), pa.duration("us"))]
    kinds += [pa.array([1, 2, 3, 1], kind) for kind in (pa.date32(), pa.time32("s"), pa.date64())]
    kinds += [one.cast(pa.float64()).cast(pa.float16()), words.dictionary_encode(), words.cast(pa.binary())]
    kinds += [words.cast(pa.large_string()), pa.array([{"a": 1}] * 4), pa.array([[1], [], [2], [3]]), pa.nulls(4)]
    kinds += [pa.array([[("a", 1)]] * 4, pa.map_(pa.string(), pa.int64())), pa.array([2**63] * 4, pa.uint64())]
    kinds += [pa.array([1.5, 2, 3, 4]), pa.array([True, False] * 2), pa.array(["a", None, "b", ""])]
    kinds += [pa.array([first, 1, 2, 3]) for first in (1e308, 1e17, float("nan"), float("inf"))]
    arrays = {name: pa.chunked_array([draw.choice(kinds)] * 5) for name in columns}
    for name, usual in (("user", words), ("item", one)):
        arrays[name] = pa.chunked_array([usual] * 5) if draw.random() < 0.5 else arrays[name]
    names = [*arrays] if draw.random() < 0.9 else ["user", "item", "item", "time"]
    pq.write_table(pa.Table.from_arrays([*arrays.values()], names), "events.parquet")
    if draw.random() < 0.2:
        content = Path("events.parquet").read_bytes()
        Path("events.parquet").write_bytes(content[: draw.randrange(len(content))])
    return "events.parquet"


def independent(name: str) -> tuple[list[str], list[str]] | None:
    """Users and items of a csv, tsv, json or jsonl file by the readers of the standard library; None for others."""
    form = next((form for form in ("csv", "tsv", "jsonl", "json") if f".{form}" in name), None)
    content = Path(name).read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    if form is None or name.endswith(".zst"):
        return None
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    if form in ("csv", "tsv"):
        sep = "\t" if form == "tsv" else max(SEPARATORS, key=text.splitlines()[0].count)
        quoting = csv.QUOTE_NONE if form == "tsv" else csv.QUOTE_MINIMAL
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=sep, quoting=quoting) if row]
        columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
        return tuple(plain([*columns[name]], form) for name in ("user", "item"))  # type: ignore[return-value]
    objects = json.loads(text) if form == "json" else [json.loads(line) for line in text.split("\n") if line.strip()]
    texts = (
        [v if isinstance(v, str) else json.dumps(v) for v in map(itemgetter(n), objects)] for n in ("user", "item")
    )
    return tuple(texts)  # type: ignore[return-value]


def test_a_mutant_is_refused_or_read_as_it_stands(
    seed: int, draw: Random, refused: Refused, gathered: list[RunData]
) -> None:
    name = mutant(draw)
    Path("items.csv").write_text("item,title\n7,seven\n")
    message = refused("check", recipe(name, "items.csv"), "data.unlisted_items=all")
    if message is not None:
        assert any(word in message for word in ("events.", "data.", "training examples")), message
        return
    data = gathered[-1].data.interactions
    other = independent(name)
    if other is not None:
        users, ids = data.user_ids.to_pylist(), gathered[-1].data.catalog.ids
        assert ([users[row] for row in data.user], [ids[row] for row in data.item]) == other


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.csv", b""),
        ("events.csv", b"user,item,time\n"),
        ("events.csv", b"\n\n\n"),
        ("events.json", b"[]"),
        ("events.json", b"[" * 100_000),
        ("events.jsonl", b'{"user": 1, "item": {"a": ' + b"[" * 100_000 + b"\n"),
        ("events.jsonl", b'{"user": "\\ud800", "item": 1}\n'),
        ("events.csv.gz", gzip.compress(b"\0" * 50_000_000)),
        ("events.csv.gz", gzip.compress(b"user,item,time\n" + b"x" * 50_000_000)),
        ("events.jsonl.gz", gzip.compress(b'{"user": "' + b"x" * 50_000_000)),
        ("events.csv", b'user,item,time\n"' + b"x" * 20_000_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_hostile_file_is_refused_in_one_sentence(name: str, content: bytes, refused: Refused) -> None:
    Path(name).write_bytes(content)
    message = refused("check", recipe(name, "null"))
    assert message is not None and message.count("\n") == 0


def test_a_field_of_ten_megabytes_is_read_or_refused_in_one_sentence(refused: Refused) -> None:
    Path("events.csv").write_bytes(b"user,item,time\n" + b"x" * 10_000_000 + b",1,1\n" + b"y,2,2\n" * 9)
    assert "\n" not in (refused("check", recipe("events.csv", "null")) or "")


def test_a_folder_called_like_a_file_is_named(refused: Refused) -> None:
    Path("events.csv").mkdir()
    message = refused("check", recipe("events.csv", "null"))
    assert message is not None and "events.csv: this folder has no file with one of .csv" in message


def test_a_mutant_is_refused_by_a_process_of_its_own(
    process_seed: int, draw: Random, refused_by_process: Refused
) -> None:
    refused_by_process("check", recipe(mutant(draw), "null"))

"""Mutants of requests, in files and in Python: each is refused by one message, or answered row by row."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lorarec
from lorarec.errors import DataError
from lorarec.inference.recommender import Recommender
from lorarec.inference.requests import UnknownIdWarning

Refused = Callable[..., str | None]
Row = dict[str, Any]
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet")
MARKS = b"\0\t\r\n ,|\"'[]{}:\\\xff\xfe\xef\xbb\xbf\xed\xa0\x80=+-@09eE.\xc3\xa9"
TEXTS = [
    *("", " ", "i0", "i1", "i1|i2", "i1||i2", "|", "i999", "1", "01", "1.0", "1e5", "nan", "NaN", "None", "null", "-0"),
    *("i1 ", "I1", "[]", "[1", '["i1"]', '["i1", null]', '[["i1"]]', '[{"a": 1}]', "{}", "[" * 3000, "9" * 5000),
    *("=1+2", "-5", "+x", "@x", "é", "💥", "\u2028", "\ufeff", "a\nb", 'a"b', "a,b", "a\tb", "\x00", "x" * 300_000),
    *("1|2", "inf", "-inf", "1|inf", "1|x", "1,5", "1e999", "true"),
]
VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 2**53 + 1, 2**63, 2**70, 10**400, 0.5, 1e308, float("nan"), float("inf")),
    *([], [[]], [None], ["i1"], [1, "i1"], [1.5], [["i1"], "i2"], [{"a": 1}], {}, {"a": [1]}, ["i1"] * 2000),
    *TEXTS,
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """A finished run that reads histories with feedback and loads in a moment."""
    recipe = {
        "name": "requests",
        "data": {
            "source": {"name": "synthetic", "users": 20, "items": 40, "events": 240},
            "split": {"by": "time", "validation": 0.15, "test": 0.15},
        },
        "backbone": {"name": "sasrec", "hidden_size": 8, "layers": 1, "heads": 1},
        "adapter": "frozen",
        "head": "rating",
        "train": {"epochs": 1},
    }
    return lorarec.train(recipe, output=tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(autouse=True)
def _loaded_once(run: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorarec.pipeline.load.load", lambda folder: run)


def valid_rows(draw: Random, ids: list[str]) -> list[Row]:
    rows = []
    for number in range(draw.randint(1, 5)):
        history = draw.sample(ids, draw.randint(0, 4))
        feedback = [draw.choice([1, 2.5, 5]) for _ in history]
        rows.append({"user": f"u{number}", "item": draw.choice(ids), "history": history, "history_feedback": feedback})
    return rows


def written(rows: list[Row], kind: str) -> bytes:
    """A file with these rows. Raises what Arrow raises for values of several types in a column of parquet."""
    if kind == "parquet":
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file.getvalue()
    if kind in ("json", "jsonl"):
        lines = [json.dumps(row) for row in rows]
        return (f"[{', '.join(lines)}]" if kind == "json" else "".join(f"{line}\n" for line in lines)).encode()
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    for row in rows:
        cells = (row.get(name) for name in names)
        writer.writerow(["|".join(map(str, cell)) if isinstance(cell, list) else cell for cell in cells])
    return text.getvalue().encode("utf-8", "surrogatepass")


def changed_rows(draw: Random, rows: list[Row]) -> list[Row]:
    """One or two cells, columns or rows are other ones."""
    for _ in range(draw.randint(1, 2)):
        row = draw.choice(rows)
        name = draw.choice([*rows[0]]) if rows[0] else "item"
        match draw.choice(["cell", "cell", "cell", "element", "rename", "drop", "add", "repeat"]):
            case "cell":
                row[name] = draw.choice(VALUES)
            case "element":
                if isinstance(row.get(name), list) and row[name]:
                    row[name][draw.randrange(len(row[name]))] = draw.choice(VALUES)
            case "rename":
                new = draw.choice(["items", "Item", "score", "user.age", "", " item", "x" * 5000, "history"])
                rows = [{new if key == name else key: value for key, value in each.items()} for each in rows]
            case "drop":
                rows = [{key: value for key, value in each.items() if key != name} for each in rows]
            case "add":
                row[draw.choice(["score", "other", "user.age", "row"])] = draw.choice(VALUES)
            case "repeat":
                rows = rows * draw.choice([1, 3, 200])
    return rows


def changed_bytes(draw: Random, content: bytes) -> bytes:
    """A few bytes are changed, or the whole is in another encoding, cut, or empty."""
    match draw.choice(["bytes", "bytes", "cut", "empty", "bom", "utf-16", "crlf", "blank", "twice", "nul"]):
        case "bytes":
            changed = bytearray(content)
            for _ in range(draw.randint(1, 4)):
                position = draw.randrange(len(changed) + 1)
                changed[position : position + draw.randint(0, 2)] = bytes([draw.choice(MARKS)])
            return bytes(changed)
        case "cut":
            return content[: draw.randrange(len(content) + 1)]
        case "empty":
            return b""
        case "bom":
            return b"\xef\xbb\xbf" + content
        case "utf-16":
            return content.decode("utf-8", "replace").encode("utf-16")
        case "crlf":
            return content.replace(b"\n", b"\r\n")
        case "blank":
            return content + draw.choice([b"\n\n", b" ", b"\r", b"\0", b"{}", b",,,\n"])
        case "twice":
            return content + content
        case _:
            return content.replace(b"i", b"\0", 1)


def mutant(draw: Random, ids: list[str], folder: Path) -> tuple[Path, list[Row] | None]:
    """A request file, and its rows where these are known."""
    kind, rows = draw.choice(FORMATS), valid_rows(draw, ids)
    path = folder / f"requests.{kind}"
    if draw.random() < 0.6:
        rows = changed_rows(draw, rows)
        try:
            path.write_bytes(written(rows, kind))
            return path, rows
        except (pa.ArrowException, UnicodeEncodeError, OverflowError, ValueError):  # not writable as such
            path = folder / "requests.json"
            path.write_text(json.dumps(rows, default=str) if len(str(rows)) < 10**6 else "[]")
            return path, None
    path.write_bytes(changed_bytes(draw, written(rows, kind)))
    return path, None


def answers(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def command_of(draw: Random, run: Recommender, path: Path, output: Path) -> tuple[object, ...]:
    if draw.random() < 0.6:
        return ("predict", run.path, "--input", path, "--output", output)
    return ("recommend", run.path, "--histories", path, "--output", output, "-k", draw.choice([1, 3, 10**9]))


def test_a_mutant_of_a_request_file_is_refused_or_answered_row_by_row(
    seed: int, draw: Random, run: Recommender, refused: Refused, here: Path
) -> None:
    path, rows = mutant(draw, run.catalog.ids, here)
    before = path.read_bytes()
    argv = command_of(draw, run, path, here / "answers.jsonl")
    message = refused(*argv)
    assert path.read_bytes() == before
    assert sorted(each.name for each in here.iterdir()) == sorted(
        {path.name} | ({"answers.jsonl"} - {message and "answers.jsonl"})
    )
    if message is not None:
        assert path.name in message or "-k" in message, message
        return
    check_answers(argv, rows, run, here / "answers.jsonl")


def check_answers(argv: tuple[object, ...], rows: list[Row] | None, run: Recommender, output: Path) -> None:
    given = answers(output)
    if argv[0] == "predict":
        assert rows is None or len(given) == len(rows)
        for row, answer in list(zip(rows or [], given, strict=rows is not None))[:100]:  # some have 200,000 rows
            if unchanged(row, run):
                scores = run.predict([row["item"]], [row["history"]], [row["history_feedback"]])
                assert answer["score"] == pytest.approx(scores[0], abs=1e-5) and answer["item"] == row["item"]
        for answer in given:
            known = str(answer["item"]) in run.catalog.rows
            assert (answer["score"] is not None) == known
            assert not known or math.isfinite(answer["score"])
        return
    lists: dict[int, list[Row]] = {}
    for answer in given:
        lists.setdefault(answer["row"], []).append(answer)
    assert rows is None or lists.keys() == set(range(1, len(rows) + 1))
    for one_list in lists.values():
        scores = [answer["score"] for answer in one_list]
        assert scores == sorted(scores, reverse=True) and len({answer["item"] for answer in one_list}) == len(scores)


def unchanged(row: Row, run: Recommender) -> bool:
    """Whether a row is as `valid_rows` draws it."""
    if list(row) != ["user", "item", "history", "history_feedback"] or not isinstance(row["history"], list):
        return False
    ids, numbers = [row["item"], *row["history"]], row["history_feedback"]
    known = all(isinstance(each, str) and each in run.catalog.rows for each in ids)
    return (
        known and isinstance(numbers, list) and len(numbers) == len(ids) - 1 and set(map(type, numbers)) <= {int, float}
    )


def wrapped(draw: Random, values: list[Any]) -> Any:
    """The same values in another container, if it takes them."""
    containers = [list, tuple, iter, pd.Series, pa.array, lambda column: pd.Series(column, range(7, 7 + len(column)))]
    try:
        return draw.choice(containers)(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return values


def test_a_mutant_of_arguments_in_python_is_refused_or_answered_row_by_row(
    seed: int, draw: Random, run: Recommender
) -> None:
    rows = valid_rows(draw, run.catalog.ids)
    if draw.random() < 0.8:
        rows = changed_rows(draw, rows)
    names = list(rows[0]) if draw.random() < 0.7 else ["item", "history"]
    table = {name: [row.get(name) for row in rows] for name in names}
    arguments = {"items": "item", "histories": "history", "feedback": "history_feedback"}
    given: dict[str, Any] = {
        argument: wrapped(draw, table[name]) for argument, name in arguments.items() if name in table
    }
    replaced = None
    if draw.random() < 0.3:
        replaced = draw.choice([*arguments])
        given[replaced] = draw.choice(VALUES)
    elif draw.random() < 0.4:
        given = {"items": draw.choice([pd.DataFrame, dict])(table)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownIdWarning)
        try:
            scores = run.predict(given.get("items"), *(given.get(name) for name in ("histories", "feedback")))
        except DataError as error:
            assert "\n" not in str(error) and len(str(error)) < 2_000
            return
    assert scores.ndim == 1 and (replaced == "items" or scores.shape == (len(rows),))
    assert not np.isinf(scores).any()


def test_a_mutant_by_a_process_of_its_own(
    process_seed: int, draw: Random, run: Recommender, refused_by_process: Refused, here: Path
) -> None:
    path, rows = mutant(draw, run.catalog.ids, here)
    argv = command_of(draw, run, path, here / "answers.jsonl")
    if refused_by_process(*argv) is None:
        check_answers(argv, rows, run, here / "answers.jsonl")

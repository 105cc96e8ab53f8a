"""The source `reviews`."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lorarec.contracts import DataError, RawTables
from lorarec.testing import check_data_source
from lorarec_sources.reviews import ReviewsSource

Write = Callable[[dict[str, str | bytes]], Path]


def review(user: str, time: int, rating: float = 4.0, **more: Any) -> dict[str, Any]:
    row = {"user_id": user, "timestamp_ms": time, "rating": rating, "review_title": "Fine", "review_text": f"at {time}"}
    return row | more


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def source(path: Path, **options: Any) -> ReviewsSource:
    return ReviewsSource(ReviewsSource.Config(path=str(path), **options))


def load(path: Path, **options: Any) -> RawTables:
    return source(path, **options).load()


MANY = [review(f"user {number % 60}", number) for number in range(180)]


def test_the_history_is_what_the_user_wrote_strictly_before_in_order_of_time(folder: Write) -> None:
    rows = [review("a", 30, 1), review("b", 5, 2), review("a", 10, 3), review("a", 20, 4), review("a", 20, 5)]
    table = load(folder({"x.jsonl": lines(rows)}) / "x.jsonl").interactions
    assert table["history"][:] == [["review 3", "review 4", "review 5"], [], [], ["review 3"], ["review 3"]]
    assert table["history_feedback"][:] == [[3, 4, 5], [], [], [3], [3]]


def test_each_review_is_an_item_with_its_own_text(folder: Write) -> None:
    rows = [review("a", 1, review_text="It&#39;s<br />good"), review("a", 2, review_text=None)]
    tables = load(folder({"x.jsonl": lines(rows)}) / "x.jsonl")
    assert tables.items is not None and tables.item_text == "{review_title}. {review_text}"
    assert tables.items["item"][:] == tables.interactions["item"][:] == ["review 1", "review 2"]
    assert tables.items["review_text"][:] == ["It's good", None]


def test_each_review_is_tested_in_one_fold_and_no_user_is_in_two_parts(folder: Write) -> None:
    path = folder({"x.jsonl": lines(MANY)}) / "x.jsonl"
    tested: Counter[str] = Counter()
    for fold in range(1, 6):
        table = load(path, fold=fold).interactions
        parts = dict(zip(table["user"][:], table["split"][:], strict=True))
        assert [parts[user] for user in table["user"][:]] == table["split"][:]
        assert set(parts.values()) == {"train", "validation", "test"}
        tested.update(row["item"] for row in table.to_list() if row["split"] == "test")
    assert tested == Counter({f"review {number}": 1 for number in range(1, 181)})


def test_the_part_of_a_user_does_not_depend_on_the_order_of_the_rows(folder: Write) -> None:
    shuffled = random.Random(0).sample(MANY, len(MANY))
    path = folder({"x.jsonl": lines(MANY), "y.jsonl": lines(shuffled)})
    parts = [
        {row["user"]: row["split"] for row in load(path / name).interactions.to_list()}
        for name in ("x.jsonl", "y.jsonl")
    ]
    assert parts[0] == parts[1]


def test_it_satisfies_the_contract_of_sources(folder: Write) -> None:
    check_data_source(source(folder({"x.jsonl": lines(MANY)}) / "x.jsonl"))


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([{"user": "a", "rating": 1}], "no column 'user_id'. Did you mean 'user'?.* Set `user` to one"),
        ([review("a", 1), review("a", 2) | {"user_id": None}], "row 2, column 'user_id': the value is missing"),
        (
            [review("a", 1), review("a", 2) | {"timestamp_ms": None}],
            "row 2, column 'timestamp_ms': the value is missing",
        ),
        ([review("a", 1), review("a", 2) | {"rating": float("nan")}], "row 2, column 'rating': .* is not a number"),
        ([review("a", 1) | {"rating": "good"}], "row 1, column 'rating': 'good' is not a number"),
    ],
)
def test_an_invalid_value_is_named(folder: Write, rows: list[dict[str, Any]], wanted: str) -> None:
    with pytest.raises(DataError, match=rf"x\.jsonl.*{wanted}"):
        load(folder({"x.jsonl": lines(rows)}) / "x.jsonl")


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no fold 6: folds=5"):
        ReviewsSource.Config(path="x", fold=6)

"""Small data in the format of each source of a bundled recipe, so that every recipe can be trained in a new clone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GENRES = ["Action", "Comedy", "Drama", "Thriller"]
NOUNS = ["Night", "River", "Garden", "Engine", "Mirror", "Winter"]
ADJECTIVES = ["Red", "Quiet", "Broken", "Golden", "Last"]


def titles(count: int, draw: random.Random) -> list[str]:
    """`count` different titles, each with a year in the format of MovieLens."""
    return [
        f"{draw.choice(ADJECTIVES)} {draw.choice(NOUNS)} {number} ({draw.randrange(1950, 1999)})"
        for number in range(count)
    ]


def write_table(path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), path)


def write_movielens(folder: Path, draw: random.Random) -> list[str]:
    """u.data, u.item and u1.test, as GroupLens publishes MovieLens 100K: 24 users of 15 ratings, 40 items."""
    flags = [draw.choices("01", k=19) for _ in range(40)]
    items = [
        "|".join([str(number), title, "01-Jan-1995", "", "http://example.org", *flags[number - 1]])
        for number, title in enumerate(titles(40, draw), start=1)
    ]
    ratings = [
        f"{user}\t{item}\t{draw.randint(1, 5)}\t{880_000_000 + 1000 * user + order}"
        for user in range(1, 25)
        for order, item in enumerate(draw.sample(range(1, 41), 15))
    ]
    (folder / "u.item").write_text("\n".join(items) + "\n", encoding="latin-1")
    (folder / "u.data").write_text("\n".join(ratings) + "\n")
    (folder / "u1.test").write_text("\n".join(ratings[::5]) + "\n")
    return []


def write_sequences(folder: Path, draw: random.Random) -> list[str]:
    """Sequences of 30 users over 60 items, the items' titles, and the 20 users for evaluation."""
    users = list(range(1, 31))
    lists = [draw.sample(range(1, 61), draw.randint(5, 12)) for _ in users]
    write_table(folder / "sequences.parquet", {"user_id": users, "items": lists})
    write_table(folder / "items.parquet", {"item_id": list(range(1, 61)), "title": titles(60, draw)})
    write_table(folder / "candidates.parquet", {"user_id": users[:20]})
    return []


def write_instructions(folder: Path, draw: random.Random) -> list[str]:
    """TALLRec's three JSON files (96, 24 and 24 rows), the same rows as ids, and a table of items with their genres."""
    names = titles(40, draw)
    rows: dict[str, list[Any]] = {
        name: [] for name in ("user_id", "history_item_id", "history_liked", "item_id", "liked", "timestamp")
    }
    for file, count in (("train", 96), ("valid", 24), ("test", 24)):
        examples = []
        for number in range(count):
            *history, item = draw.sample(range(40), 7)
            liked = [draw.randint(0, 1) for _ in history]
            answer = number % 2
            values = (f"{file} {number // 4}", history, liked, item, answer, 1000 * len(rows["liked"]))
            for column, value in zip(rows.values(), values, strict=True):
                column.append(value)
            quoted = [
                ", ".join(f'"{names[row]}"' for row, mark in zip(history, liked, strict=True) if mark == value)
                for value in (1, 0)
            ]
            text = (
                f"User Preference: {quoted[0]}\nUser Unpreference: {quoted[1]}\n"
                f'Whether the user will like the target movie "{names[item]}"?'
            )
            examples.append({"instruction": "...", "input": text, "output": ["No.", "Yes."][answer]})
        (folder / f"{file}.json").write_text(json.dumps(examples))
    write_table(folder / "rows.parquet", rows)
    write_table(folder / "genres.parquet", {"title": names, "genres": [draw.sample(GENRES, 2) for _ in names]})
    return [f"data.source.items={folder / 'genres.parquet'}"]


def write_reviews(folder: Path, draw: random.Random) -> list[str]:
    """reviews.parquet: four reviews of each of 40 users."""
    users = [f"U{number % 40}" for number in range(160)]
    stars = [float(draw.randint(1, 5)) for _ in users]
    write_table(
        folder / "reviews.parquet",
        {
            "user_id": users,
            "timestamp_ms": [1_600_000_000_000 + number for number in range(len(users))],
            "rating": stars,
            "review_title": [f"{star:.0f} stars" for star in stars],
            "review_text": [f"A {draw.choice(ADJECTIVES).lower()}<br />{draw.choice(NOUNS).lower()}." for _ in users],
        },
    )
    return []


def write_headlines(folder: Path, draw: random.Random) -> list[str]:
    """packages.parquet: 60 A/B tests of three headlines, shown 1,000 times each."""
    tests = [f"test {number // 3}" for number in range(180)]
    write_table(
        folder / "packages.parquet",
        {
            "clickability_test_id": tests,
            "headline": titles(len(tests), draw),
            "impressions": [1000] * len(tests),
            "clicks": [10 + 40 * (number % 3) + draw.randrange(10) for number in range(len(tests))],
            "split": [["train", "train", "valid", "test"][number // 3 % 4] for number in range(len(tests))],
        },
    )
    return []


FORMATS: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "movielens": write_movielens,
    "sequences": write_sequences,
    "instruction": write_instructions,
    "reviews": write_reviews,
    "ab_tests": write_headlines,
}


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """small_data("movielens"): the overrides that give a recipe small data in the format of this source."""

    def overrides(source: str) -> list[str]:
        if source == "synthetic":
            return ["data.source.users=60", "data.source.items=50", "data.source.events=800"]
        assert source in FORMATS, f"write small data of the source '{source}' here, so that its recipe is trained"
        folder = tmp_path_factory.mktemp(source)
        return [f"data.source.path={folder}", *FORMATS[source](folder, random.Random(0))]

    return overrides

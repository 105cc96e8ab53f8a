"""A/B tests from file to prediction: what a run learned about words applies to headlines that were not tested."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lorarec
from lorarec.errors import DataError

Make = Callable[..., dict[str, Any]]
NOUNS = ("dog", "road", "school", "river", "song", "vote", "storm", "letter")


@pytest.fixture
def tests_of_headlines(tmp_path: Path) -> Path:
    """60 tests of two headlines each: the one with the word 'you' is clicked twice as often."""
    draw, rows = random.Random(0), ["test,text,impressions,clicks,split"]
    for number in range(60):
        part = ("train", "train", "train", "validation", "test")[number % 5]
        noun, other = draw.sample(NOUNS, 2)
        rows += [f"{number},the {noun} you saw {number},1000,{draw.randint(80, 100)},{part}"]
        rows += [f"{number},the {other} they saw {number},1000,{draw.randint(30, 50)},{part}"]
    (tmp_path / "tests.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "tests.csv"


def trained(recipe: Make, file: Path, folder: Path, **head: Any) -> Any:
    source = {"name": "ab_tests", "path": str(file), "test": "test", "text": "text"}
    data = {"source": source, "split": {"by": "column"}}
    settings = recipe("lora", {"name": "comparison", **head}, data=data, train={"epochs": 4, "batch_size": 4})
    return lorarec.train(settings, output=folder / "run")


def test_the_winning_word_is_learned_and_predictions_swap_sign(
    recipe: Make, tests_of_headlines: Path, tmp_path: Path
) -> None:
    run = trained(recipe, tests_of_headlines, tmp_path)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["pair_accuracy"] > 0.9
    you, they = (next(item for item in run.catalog.ids if word in item) for word in ("you", "they"))
    there, back = run.predict([you, they], [[they], [you]])
    assert there == pytest.approx(-back) and there > 0
    assert lorarec.load(tmp_path / "run").predict([you], [[they]])[0] == pytest.approx(there)


def test_stars_are_no_leads(recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'rating'.* For stars use head 'rating'"):
        lorarec.train(recipe("lora", "comparison"), output=tmp_path / "run")

"""Two calls of a loaded run give exactly the same result, even if its recipe trained with dropout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lorarec

Make = Callable[..., dict[str, Any]]
ADAPTERS: list[Any] = [
    {"name": "lora", "dropout": 0.5},
    {"name": "adalora", "init_r": 4, "target_r": 2, "dropout": 0.5},
    {"name": "prefix", "tokens": 4},
    "full",
    "frozen",
]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_two_calls_are_equal_to_the_bit(adapter: Any, recipe: Make, tmp_path: Path) -> None:
    head = {"name": "next_item", "width": 16, "dropout": 0.5}
    lorarec.train(recipe(adapter, head, train={"max_steps": 4, "batch_size": 8}), output=tmp_path / "run")
    run = lorarec.load(tmp_path / "run")
    ids = run.catalog.ids[:4]
    first, second = (run.recommend([ids], k=5)[0] for _ in range(2))
    assert [(one.item, one.score) for one in first] == [(one.item, one.score) for one in second]


def test_two_scores_of_a_pair_are_equal_to_the_bit(recipe: Make, tmp_path: Path) -> None:
    settings = recipe({"name": "lora", "dropout": 0.5}, "ctr", train={"max_steps": 3})
    lorarec.train(settings, output=tmp_path / "run")
    run = lorarec.load(tmp_path / "run")
    ids = run.catalog.ids[:4]
    assert np.array_equal(run.predict(ids, [ids] * 4), run.predict(ids, [ids] * 4))

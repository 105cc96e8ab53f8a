"""Pairs that share histories: computed together, and to the same result as one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lorarec.contracts import Examples, Requests, TaskHead
from lorarec.testing import made
from lorarec_heads.ctr import Ctr
from lorarec_heads.rating import Rating

World = Any


def of_process(name: str, **options: Any) -> TaskHead:
    """A head of lorarec-process. Skips where it is not installed."""
    package = pytest.importorskip("lorarec_process", reason="lorarec-process is not installed")
    return made(getattr(package, name), **options)


HEADS: dict[str, tuple[Callable[[], TaskHead], str]] = {
    "rating": (lambda: made(Rating), "rating"),
    "rating joint": (lambda: made(Rating, encoding="joint", max_history=5), "rating"),
    "rating_ridge": (lambda: of_process("RatingRidge"), "rating"),
    "rating_ridge joint": (lambda: of_process("RatingRidge", encoding="joint", max_history=5), "rating"),
    "rating_process": (lambda: of_process("RatingProcess"), "rating"),
    "ctr_ridge": (lambda: of_process("CtrRidge"), "click"),
    "ctr": (lambda: made(Ctr, biases=True), "click"),
    "ctr joint": (lambda: made(Ctr, encoding="joint", max_history=5), "click"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_catalogue_scored_for_few_users_has_the_scores_of_each_pair(name: str, world: Callable[..., World]) -> None:
    make, column = HEADS[name]
    task = make()
    toy = world(task, column)
    head = toy.build()
    toy.train(head, steps=3)
    head.eval()
    asked = toy.requests([[1, 2, 3, 4], [], [7]], [[5, 1, 4, 2], [], [float("nan")]], [0, 0, 0])
    place, items = np.repeat(np.arange(3), 24), np.tile(np.arange(24), 3)
    crossed = Requests(asked.collation.interactions, asked.collation.histories).about(place, items)
    collation = replace(asked.collation, interactions=crossed.events, histories=crossed.histories)
    pairs = Examples(task.requests(crossed), task, collation)

    def scores(rows: np.ndarray) -> torch.Tensor:
        batch = pairs.batch(rows)
        with torch.no_grad():
            found: torch.Tensor = head.score(toy.encoder(batch), batch)
        return found

    together = pairs.batch(np.arange(72))
    assert len(together.tensors["history"]) == 3, "histories are read once a user, not once a pair"
    alone = torch.cat([scores(np.array([row])) for row in range(72)])
    torch.testing.assert_close(scores(np.arange(72)), alone, rtol=1e-5, atol=1e-6)

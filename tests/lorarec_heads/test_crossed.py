"""Facts that share histories: computed together, and to the same result as one by one."""

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
from lorarec_heads.kernel_ridge import kernel_ridge
from lorarec_heads.rating import Rating
from lorarec_heads.rating_process import RatingProcess

World = Any
HEADS: dict[str, tuple[TaskHead, str]] = {
    "rating": (made(Rating), "rating"),
    "rating joint": (made(Rating, encoding="joint", max_history=5), "rating"),
    "rating_process": (made(RatingProcess), "rating"),
    "ctr": (made(Ctr, biases=True), "click"),
    "ctr joint": (made(Ctr, encoding="joint", max_history=5), "click"),
}


def meeting(histories: int, items: int) -> tuple[torch.Tensor, ...]:
    """Features of 9 items; every history meets the same items: candidates, histories of 4 events, whose they are."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(9, 3, generator=generator).double(),
        torch.arange(items).repeat(histories),
        torch.randint(0, 9, (histories, 4), generator=generator),
        torch.arange(histories).repeat_interleave(items),
    )


def test_the_ridge_regression_of_shared_histories_is_that_of_each_fact() -> None:
    features, candidate, history, owner = meeting(3, 8)
    residual, noise = torch.randn(3, 4).double(), torch.tensor(0.7).double()
    mask = torch.tensor([[True] * 4, [False, True, False, True], [False] * 4])
    together = kernel_ridge(features, candidate, history, owner, residual, mask, noise)
    zero = torch.zeros(1).long()
    alone = [
        kernel_ridge(features, candidate[f, None], history[o], zero, residual[o], mask[o], noise)
        for f, o in enumerate(owner[:, None])
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    assert torch.autograd.gradcheck(
        lambda x, r, n: kernel_ridge(x, candidate, history, owner, r, mask, n),
        (features.requires_grad_(), residual.requires_grad_(), noise.requires_grad_()),
    )


@pytest.mark.parametrize("name", HEADS)
def test_a_catalogue_scored_for_few_users_has_the_scores_of_each_pair(name: str, world: Callable[..., World]) -> None:
    task, column = HEADS[name]
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

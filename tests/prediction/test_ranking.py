"""Ranking: compared with plain loops, on scores with ties, masked items and NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lorarec.errors import DataError
from lorarec.prediction import ranking
from lorarec.prediction.ranking import catalog_scores, held_out_rank, held_out_ties, mask_seen, top_items

USERS = 5


def drawn(kind: str, size: int) -> Tensor:
    """[5, size] scores."""
    generator = torch.Generator().manual_seed(size)
    scores = torch.randn(USERS, size, generator=generator)
    if kind == "few values":
        return scores.round()
    if kind == "constant":
        return torch.zeros(USERS, size)
    if kind == "mostly seen":
        return scores.masked_fill(torch.rand(USERS, size, generator=generator) < 0.98, -torch.inf)
    if kind == "NaN":
        return scores.masked_fill(torch.rand(USERS, size, generator=generator) < 0.3, torch.nan)
    return scores


KINDS = ("random", "few values", "constant", "mostly seen", "NaN")


@pytest.mark.parametrize("k", [1, 3, 10, 400])
@pytest.mark.parametrize("size", [1, 30, 161, 5003])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_items_are_the_first_of_a_stable_sort(kind: str, size: int, k: int) -> None:
    scores = drawn(kind, size)
    rows, best = top_items(scores.clone(), k)
    for user in range(USERS):
        plain = [-np.inf if value != value else value for value in scores[user].tolist()]
        expected = sorted(range(size), key=lambda row: (-plain[row], row))[:k]
        assert best[user].tolist() == [plain[row] for row in expected]
        assert rows[user].tolist() == [row if plain[row] > -np.inf else -1 for row in expected]


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
@pytest.mark.parametrize("size", [1, 30, 5003])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_counts_all_scores_that_are_not_lower(
    kind: str, size: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "accelerator":
        monkeypatch.setattr(ranking, "STRIP", 1000)
        monkeypatch.setattr(ranking, "_counts", ranking._counts_in_strips)
    scores, target = drawn(kind, size), torch.arange(USERS) * 37 % size
    ranks, ties = held_out_rank(scores.clone(), target), held_out_ties(scores.clone(), target)
    for user in range(USERS):
        plain = [-np.inf if value != value else value for value in scores[user].tolist()]
        own = plain[int(target[user])]
        assert ranks[user] == sum(value >= own for value in plain) - 1
        assert ties[user] == (sum(value == own for value in plain) - 1 if own > -np.inf else 0)


def test_a_constant_scorer_ranks_last() -> None:
    assert held_out_rank(torch.ones(2, 9), torch.tensor([0, 8])).tolist() == [8, 8]


def test_a_target_outside_the_catalog_is_refused() -> None:
    with pytest.raises(DataError, match="outside the catalog of 9 items"):
        held_out_rank(torch.ones(1, 9), torch.tensor([9]))


def test_seen_items_are_never_among_the_best() -> None:
    scores = mask_seen(torch.arange(12.0).view(2, 6), [np.array([5, 4, 5]), np.array([], np.int64)])
    assert top_items(scores, 3)[0].tolist() == [[3, 2, 1], [5, 4, 3]]
    assert top_items(mask_seen(scores, [np.arange(6), np.arange(5)]), 2)[0].tolist() == [[-1, -1], [5, -1]]


def test_the_number_of_scores_held_at_once_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = torch.randn(7, 4), torch.randn(10, 4)
    whole = users @ items.T
    for limit, sizes in ((100, [7]), (35, [3, 3, 1]), (10, [1] * 7), (3, [1] * 7)):
        monkeypatch.setattr(ranking, "SCORES", limit)
        blocks = [(part, scores.clone()) for part, scores in catalog_scores(users, items)]
        assert [len(scores) for _, scores in blocks] == sizes
        assert torch.cat([torch.arange(7)[part] for part, _ in blocks]).tolist() == list(range(7))
        torch.testing.assert_close(torch.cat([scores for _, scores in blocks]), whole)
    assert list(catalog_scores(users[:0], items)) == []


class Largest(TorchDispatchMode):
    """The most bytes that one operation has allocated."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {part.untyped_storage().data_ptr() for part in args if isinstance(part, Tensor)}
        for tensor in made if isinstance(made, tuple) else (made,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("kind", ["random", "constant"])
@pytest.mark.parametrize(
    "rank",
    [
        lambda scores: top_items(scores, 10),
        lambda scores: held_out_rank(scores, torch.zeros(USERS, dtype=torch.int64)),
        lambda scores: held_out_ties(scores, torch.zeros(USERS, dtype=torch.int64)),
        lambda scores: mask_seen(scores, [np.arange(20)] * USERS),
    ],
    ids=["best", "rank", "ties", "mask"],
)
def test_ranking_copies_no_block_of_scores(
    rank: Callable[[Tensor], Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "STRIP", 2**12)
    scores = drawn(kind, 50_000)
    with Largest() as largest:
        rank(scores)
    assert largest.bytes < scores.nbytes / 4

"""Weights of each item's own: for items that training has seen, and for no others."""

from __future__ import annotations

import numpy as np
import torch

from lorarec_heads.item_kernel import ItemKernel
from lorarec_heads.item_tower import ItemTower
from lorarec_heads.own_vectors import OwnVectors

COUNTS = np.array([3, 0, 1, 0, 0, 7])


def test_items_never_seen_have_no_weights_and_the_vector_0() -> None:
    own = OwnVectors(COUNTS, 4, 1.0)
    assert own.weight.shape == (3, 4)
    found = own(torch.arange(6))
    assert torch.equal(found[[0, 2, 5]], own.weight)
    assert not found[[1, 3, 4]].any()


def test_an_item_starts_alike_whichever_others_were_seen() -> None:
    torch.manual_seed(0)
    few = OwnVectors(COUNTS, 4, 0.02)
    torch.manual_seed(0)
    all_seen = OwnVectors(np.ones(6), 4, 0.02)
    assert torch.equal(few(torch.tensor([2, 5])), all_seen(torch.tensor([2, 5])))


def test_gradients_reach_the_items_of_the_batch_alone() -> None:
    own = OwnVectors(COUNTS, 4, 1.0)
    own(torch.tensor([5, 1, 5])).sum().backward()
    assert own.weight.grad is not None
    assert own.weight.grad.tolist() == [[0.0] * 4, [0.0] * 4, [2.0] * 4]


def test_weights_grow_with_the_items_seen_not_with_the_catalogue() -> None:
    seen = np.zeros(10_000)
    seen[:3] = 1
    tower, kernel = ItemTower(8, 16, seen, ids=True, id_dropout=0.0), ItemKernel(8, 16, seen)
    matrices = [weight for part in (tower, kernel) for weight in part.parameters() if weight.ndim == 2]
    assert max(len(weight) for weight in matrices) <= 16


def test_a_share_of_the_items_goes_without_their_own_vector_in_training_alone() -> None:
    tower = ItemTower(8, 16, np.ones(2000), ids=True, id_dropout=0.25)
    text, items = torch.zeros(2000, 8), torch.arange(2000)
    plain = tower.eval()(text, items)[0]
    dropped = (tower.train()(text, items)[0] - plain).abs().sum(dim=1) > 0
    assert 0.2 < dropped.float().mean() < 0.3

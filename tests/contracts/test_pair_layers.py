"""Layers of heads of pairs: weights of items that training has seen, and products with shared histories."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lorarec.contracts import ItemEmbedding, pair_products
from lorarec.contracts.pair_layers import _crossed

COUNTS = np.array([3, 0, 1, 0, 0, 7])


def test_items_never_seen_have_no_weights_and_the_vector_0() -> None:
    own = ItemEmbedding(COUNTS, 4, 1.0)
    assert own.weight.shape == (3, 4)
    found = own(torch.arange(6))
    assert torch.equal(found[[0, 2, 5]], own.weight)
    assert not found[[1, 3, 4]].any()


def test_an_item_starts_alike_whichever_others_were_seen() -> None:
    torch.manual_seed(0)
    few = ItemEmbedding(COUNTS, 4, 0.02)
    torch.manual_seed(0)
    all_seen = ItemEmbedding(np.ones(6), 4, 0.02)
    assert torch.equal(few(torch.tensor([2, 5])), all_seen(torch.tensor([2, 5])))


def test_gradients_reach_the_items_of_the_batch_alone() -> None:
    own = ItemEmbedding(COUNTS, 4, 1.0)
    own(torch.tensor([5, 1, 5])).sum().backward()
    assert own.weight.grad is not None
    assert own.weight.grad.tolist() == [[0.0] * 4, [0.0] * 4, [2.0] * 4]


def test_targets_are_crossed_only_where_they_share_histories() -> None:
    candidate = torch.arange(100)
    assert _crossed(candidate, histories=100) is None, "as in training"
    assert _crossed(candidate, histories=50) is None, "few of the 5,000 pairs are wanted"
    crossed = _crossed(candidate % 20, histories=5)
    assert crossed is not None and crossed[0][crossed[1]].tolist() == (candidate % 20).tolist()


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 5)])
def test_products_with_shared_histories_are_those_of_each_target(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    items, others = torch.randn(9, 5, generator=generator), torch.randn(shape, generator=generator)
    candidate, owner = torch.arange(8).repeat(3), torch.arange(3).repeat_interleave(8)
    assert _crossed(candidate, 3) is not None
    together = pair_products(items, candidate, others, owner)
    alone = [
        items[c] @ others[o].mT if len(shape) == 3 else items[c] @ others[o]
        for c, o in zip(candidate, owner, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone))
    torch.testing.assert_close(pair_products(items, candidate, others[owner], torch.arange(24)), together)

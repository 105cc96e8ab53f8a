"""Layers for heads of pairs: embeddings of items seen in training, and products with shared histories."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lorarec.contracts import ItemEmbedding, pair_products
from lorarec.contracts.pair_layers import _crossed

COUNTS = np.array([3, 0, 1, 0, 0, 7])


def test_unseen_items_have_no_weights_and_the_vector_0() -> None:
    embedding = ItemEmbedding(COUNTS, 4, 1.0)
    assert embedding.weight.shape == (3, 4)
    vectors = embedding(torch.arange(6))
    assert torch.equal(vectors[[0, 2, 5]], embedding.weight)
    assert not vectors[[1, 3, 4]].any()


def test_the_initial_weights_of_an_item_do_not_depend_on_the_other_items_seen() -> None:
    torch.manual_seed(0)
    few = ItemEmbedding(COUNTS, 4, 0.02)
    torch.manual_seed(0)
    all_seen = ItemEmbedding(np.ones(6), 4, 0.02)
    assert torch.equal(few(torch.tensor([2, 5])), all_seen(torch.tensor([2, 5])))


def test_only_items_of_the_batch_get_gradients() -> None:
    embedding = ItemEmbedding(COUNTS, 4, 1.0)
    embedding(torch.tensor([5, 1, 5])).sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad.tolist() == [[0.0] * 4, [0.0] * 4, [2.0] * 4]


def test_products_of_all_pairs_are_used_only_if_targets_share_histories() -> None:
    candidate = torch.arange(100)
    assert _crossed(candidate, histories=100) is None, "as in training"
    assert _crossed(candidate, histories=50) is None, "few of the 5,000 pairs are needed"
    crossed = _crossed(candidate % 20, histories=5)
    assert crossed is not None and crossed[0][crossed[1]].tolist() == (candidate % 20).tolist()


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 5)])
def test_products_with_shared_histories_equal_those_of_each_target(shape: tuple[int, ...]) -> None:
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

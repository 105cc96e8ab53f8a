"""Weights of each item's own: for items that training has seen, and for no others."""

from __future__ import annotations

import numpy as np
import torch

from lorarec_heads.next_item.network import ItemTower


def test_weights_grow_with_the_items_seen_not_with_the_catalogue() -> None:
    seen = np.zeros(10_000)
    seen[:3] = 1
    tower = ItemTower(8, 16, seen, ids=True, id_dropout=0.0)
    matrices = [weight for weight in tower.parameters() if weight.ndim == 2]
    assert max(len(weight) for weight in matrices) <= 16


def test_a_share_of_the_items_goes_without_their_own_vector_in_training_alone() -> None:
    tower = ItemTower(8, 16, np.ones(2000), ids=True, id_dropout=0.25)
    text, items = torch.zeros(2000, 8), torch.arange(2000)
    plain = tower.eval()(text, items)[0]
    dropped = (tower.train()(text, items)[0] - plain).abs().sum(dim=1) > 0
    assert 0.2 < dropped.float().mean() < 0.3

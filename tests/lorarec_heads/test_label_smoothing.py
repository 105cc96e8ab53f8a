"""Label smoothing changes a head's loss by exactly what its definition says (Szegedy et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lorarec.testing import made
from lorarec_heads.ctr import Ctr
from lorarec_heads.next_item.task import NextItem

World = Any


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_click_is_taken_for_one_less_half_the_share_and_no_click_for_half_the_share(
    share: float, world: Callable[..., World]
) -> None:
    """BCE of logit x is softplus(x) - x y, so moving y to (1 - share) y + share / 2 adds share * x * (y - 1/2)."""
    plain, smooth = (
        world(made(Ctr, loss={"name": "bce", "label_smoothing": amount}), "click") for amount in (0.0, share)
    )
    batch = plain.examples().batch(np.arange(40))
    head, other = plain.build().eval(), smooth.build().eval()
    with torch.no_grad():
        head.base.fill_(1.5)
        other.base.fill_(1.5)
        logit = head.score(plain.encoder(batch), batch).double().logit()
        added = smooth.loss(other, batch) - plain.loss(head, batch)
    labels = batch.tensors["labels"]
    assert 0 < labels.mean() < 1
    assert float(added) == pytest.approx(float(share * (logit * (labels - 0.5)).sum()), rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_share_of_the_next_items_weight_is_spread_evenly_over_the_catalog(
    share: float, world: Callable[..., World]
) -> None:
    """Cross entropy is linear in its weights: smoothing adds share * (score of the target - mean score) a target."""
    plain, smooth = (
        world(
            made(NextItem, width=8, max_history=1, dropout=0.0, loss={"name": "softmax", "label_smoothing": amount}),
            split={"by": "last"},
        )
        for amount in (0.0, share)
    )
    examples = plain.examples()
    rows = np.arange(40)
    batch = examples.batch(rows)
    head, other = plain.build().eval(), smooth.build().eval()
    with torch.no_grad():
        users = head.user_vectors(plain.encoder(batch), batch)
        scores = users @ head.item_vectors(plain.vectors, torch.arange(len(plain.vectors))).T
        added = smooth.loss(other, batch) - plain.loss(head, batch)
    targets = torch.from_numpy(plain.data.interactions.item[examples.events[rows]]).long()
    wanted = scores.gather(1, targets[:, None])[:, 0] - scores.mean(dim=1)
    assert float(added) == pytest.approx(float(share * wanted.sum()), rel=1e-3)

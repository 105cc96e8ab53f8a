"""Losses that compare: what was liked comes to stand above what was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lorarec.testing import made
from lorarec_heads.ctr import Ctr

World = Any


@pytest.mark.parametrize("rivals", [1, 4])
def test_the_loss_of_equal_logits_is_that_of_guessing(rivals: int, world: Callable[..., World]) -> None:
    toy = world(made(Ctr, loss="ranking", rivals=rivals), "click")
    head, batch = toy.build(), toy.examples().batch(np.arange(10))
    with torch.no_grad():
        head.signals.weight.zero_()
    assert toy.loss(head, batch).item() / batch.count == pytest.approx(np.log(1 + rivals), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"encoding": "joint"}])
def test_no_weight_merely_shifts_all_logits_alike(options: dict[str, Any], world: Callable[..., World]) -> None:
    toy = world(made(Ctr, loss="ranking", **options), "click")
    head = toy.build()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    toy.loss(head, toy.examples().batch(np.arange(40))).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad.norm() < 1e-4] == []


@pytest.mark.parametrize("options", [{"rivals": 2}, {"loss": {"name": "bce", "label_smoothing": 0.1}, "rivals": 2}])
def test_settings_of_the_other_loss_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="would do nothing"):
        made(Ctr, **options)


def test_more_rivals_than_are_drawn_are_refused() -> None:
    with pytest.raises(ValidationError, match="rivals=3 would repeat the 2"):
        made(Ctr, loss="ranking", rivals=3, negatives=2)

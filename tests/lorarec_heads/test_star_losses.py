"""Losses of ratings: what each makes smallest, where they agree, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lorarec.contracts import DataError, Part, Rows
from lorarec.testing import made
from lorarec_heads.rating import Rating
from lorarec_losses.regression import Huber, HuberError, OrderedCuts, Ordinal, SquaredError

World = Any
STARS = (1.0, 2.0, 3.0, 4.0, 5.0)


def gradient(loss: torch.nn.Module, found: Tensor, given: Tensor) -> Tensor:
    leaf = found.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, given).sum(), leaf)
    return slope


def test_huber_is_the_squared_error_of_small_differences_and_linear_beyond() -> None:
    given, near, far = torch.zeros(3), torch.tensor([0.1, -0.4, 0.9]), torch.tensor([2.0, -30.0, 1.5])
    torch.testing.assert_close(HuberError(1.0)(near, given), SquaredError()(near, given))
    assert gradient(HuberError(1.0), far, given).tolist() == [2, -2, 2]


def test_ordinal_probabilities_of_all_stars_add_up_to_one() -> None:
    loss = OrderedCuts(STARS)
    for found in (-40.0, 1.2, 3.0, 60.0):
        each = [torch.exp(-loss(torch.tensor([found]), torch.tensor([star]))).item() for star in STARS]
        assert sum(each) == pytest.approx(1, abs=1e-5)
        mean = sum(p * star for p, star in zip(each, STARS, strict=True))
        assert loss.answer(torch.tensor([found])).item() == pytest.approx(mean, abs=1e-4)


def test_ordinal_answers_rise_with_what_is_found_and_stay_among_the_stars() -> None:
    answers = OrderedCuts(STARS).answer(torch.linspace(-5, 12, 200)).detach()
    assert (answers.diff() >= 0).all()
    assert answers.min() >= 1
    assert answers.max() <= 5
    assert float(answers[(torch.linspace(-5, 12, 200) - 3).abs().argmin()]) == pytest.approx(3, abs=0.05)


def test_ordinal_gradients_are_finite_however_far_off_and_exact() -> None:
    loss = OrderedCuts(STARS)
    far = gradient(loss, torch.tensor([-500.0, 500.0]), torch.tensor([5.0, 1.0]))
    assert torch.isfinite(far).all()
    assert far[0] < 0 < far[1]
    exact = OrderedCuts(STARS).double()
    given = torch.tensor([1.0, 3.0, 5.0, 2.0])
    assert torch.autograd.gradcheck(
        lambda x: exact(x, given.double()), torch.tensor([0.7, 3.3, 4.1, 2.9], dtype=torch.float64, requires_grad=True)
    )


def test_ordinal_learns_uneven_stars() -> None:
    """Most give 1 or 5: the cuts between 2, 3 and 4 move together, so that an answer leaves the middle sooner."""
    given = torch.tensor([1.0] * 45 + [3.0] * 2 + [5.0] * 45)
    found = torch.linspace(2, 4, len(given))
    loss = OrderedCuts(STARS)
    before = (loss.answer(found) - given).square().mean().item()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(found, given).sum().backward()
        optimizer.step()
    after = (loss.answer(found) - given).square().mean().item()
    assert after < 0.3 * before


def test_two_different_ratings_are_enough_for_order_and_one_is_not(world: Callable[..., World]) -> None:
    statistics = world(made(Rating), "rating").data.statistics
    loss = made(Ordinal)
    assert isinstance(loss.build(replace(statistics, label_levels=(0.0, 1.0))), OrderedCuts)
    with pytest.raises(DataError, match="at least two different ratings"):
        loss.build(replace(statistics, label_levels=(3.0,)))


def test_too_many_different_ratings_are_refused_by_ordinal_alone() -> None:
    stars = np.linspace(0, 1, 500)
    made(Rating, loss="huber").check_labels(stars, Rows())
    with pytest.raises(DataError, match=r"500 different values.*100 at most.*mse or huber"):
        made(Rating, loss="ordinal").check_labels(stars, Rows())


@pytest.mark.parametrize("head", [Rating])
def test_the_delta_is_a_setting_of_huber(head: Any) -> None:
    with pytest.raises(ValidationError, match=r"huber_delta is a setting of the loss now: write loss: \{name: huber"):
        made(head, huber_delta=2.0)
    with pytest.raises(ValidationError, match="delta"):
        made(head, loss={"name": "mse", "delta": 2.0})
    earlier = made(head, loss="huber", huber_delta=1.0)
    assert earlier.config.loss.config == Huber.Config(), "the recipe of an earlier run writes the default out"
    assert made(head, loss={"name": "huber", "delta": 2.0}).config.loss.config.delta == 2.0


@pytest.mark.parametrize("loss", ["huber", "ordinal"])
@pytest.mark.parametrize("head", [Rating])
def test_the_head_learns_by_it(head: Any, loss: str, world: Callable[..., World], events: dict[str, Any]) -> None:
    events["rating"] = [float(round(stars)) for stars in events["rating"]]
    toy = world(made(head, loss=loss), "rating")
    built = toy.build()
    losses = toy.train(built, steps=25, lr=0.05)
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    examples = toy.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        found = built.eval().score(toy.encoder(batch), batch).numpy()
    assert found.min() >= 1
    assert found.max() <= 5
    assert np.sqrt(np.mean((found - examples.labels()) ** 2)) < 0.6 * examples.labels().std()

"""The ridge of stars: clamped stars, penalties, groups, and the losses of stars, as of the rating process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lorarec.contracts import DataError, Part, Rows
from lorarec.testing import made
from lorarec_process.rating_process import RatingProcess
from lorarec_process.rating_ridge import ItemKernel, RatingRidge

World = Any


def rmse(world: World, head: Any) -> float:
    examples = world.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        scores = head.eval().score(world.encoder(batch), batch).numpy()
    return float(np.sqrt(np.mean((scores - examples.labels()) ** 2)))


def test_it_beats_the_mean_before_and_after_training(world: Callable[..., World]) -> None:
    toy = world(made(RatingRidge, factors=4), "rating")
    labels = toy.examples(Part.TEST).labels()
    mean = float(np.sqrt(np.mean((labels - toy.data.statistics.label_mean) ** 2)))
    head = toy.build()
    untrained = rmse(toy, head)
    toy.train(head, steps=40)
    assert untrained < 0.8 * mean
    assert rmse(toy, head) < untrained


def test_stars_stay_in_the_range_of_the_training_labels_but_the_loss_does_not(
    world: Callable[..., World],
) -> None:
    toy = world(made(RatingRidge), "rating")
    head = toy.build().eval()
    with torch.no_grad():
        head.bias += 100.0
    batch = toy.examples().batch(np.arange(30))
    scores = head.score(toy.encoder(batch), batch)
    assert scores.max() <= toy.data.statistics.label_max
    losses = head.losses(toy.encoder(batch), batch)
    statistics = toy.data.statistics
    assert losses.min() > (statistics.label_max - statistics.label_min) ** 2, "clamped stars would have a lower loss"


def test_stars_of_another_range_are_learned_as_well(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    events["rating"] = [20 * stars for stars in events["rating"]]
    toy = world(made(RatingRidge), "rating")
    labels = toy.examples(Part.TEST).labels()
    assert rmse(toy, toy.build()) < 0.8 * labels.std()


def test_groups_have_the_loss_of_their_single_targets(world: Callable[..., World]) -> None:
    grouped = world(made(RatingRidge, targets_per_example=6), "rating")
    single = world(made(RatingRidge), "rating")
    head = single.build().eval()
    losses = []
    for toy in (grouped, single):
        examples = toy.examples()
        losses.append(toy.loss(head, examples.batch(np.arange(len(examples)))))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-3)


def test_penalties_pull_weights_to_zero(world: Callable[..., World]) -> None:
    sizes = {}
    for penalty in (0.0, 5.0):
        toy = world(made(RatingRidge, bias_penalty=penalty, factor_penalty=penalty), "rating")
        head = toy.build()
        toy.train(head, steps=25)
        sizes[penalty] = head.bias.square().sum() + head.kernel.factors.weight.square().sum()
    assert sizes[5.0] < 0.5 * sizes[0.0]


def test_equal_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"All 3 values of 'rating' are 4.*data\.columns\.rating"):
        made(RatingRidge).check_labels(np.full(3, 4.0), Rows())


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        made(RatingRidge, factor=3)


def test_a_penalty_on_missing_weights_is_refused() -> None:
    with pytest.raises(ValidationError, match="factor_penalty would do nothing with factors=0"):
        made(RatingRidge, factors=0, factor_penalty=1.0)
    with pytest.raises(ValidationError, match="bias_penalty would do nothing with biases=False"):
        made(RatingRidge, biases=False, bias_penalty=1.0)


@pytest.mark.parametrize("head", [RatingRidge, RatingProcess])
def test_the_delta_is_a_setting_of_huber(head: Any) -> None:
    with pytest.raises(ValidationError, match=r"huber_delta is a setting of the loss now: write loss: \{name: huber"):
        made(head, huber_delta=2.0)
    with pytest.raises(ValidationError, match="delta"):
        made(head, loss={"name": "mse", "delta": 2.0})
    earlier = made(head, loss="huber", huber_delta=1.0)
    assert earlier.config.loss.config.delta == 1.0, "the recipe of an earlier run has the default"
    assert made(head, loss={"name": "huber", "delta": 2.0}).config.loss.config.delta == 2.0


@pytest.mark.parametrize("loss", ["huber", "ordinal"])
@pytest.mark.parametrize("head", [RatingRidge, RatingProcess])
def test_both_heads_learn(head: Any, loss: str, world: Callable[..., World], events: dict[str, Any]) -> None:
    events["rating"] = [float(round(stars)) for stars in events["rating"]]
    toy = world(made(head, loss=loss), "rating")
    built = toy.build()
    losses = toy.train(built, steps=25, lr=0.05)
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    if head is RatingProcess:
        built.refresh(toy.vectors)
    examples = toy.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        predicted = built.eval().score(toy.encoder(batch), batch).numpy()
    assert predicted.min() >= 1
    assert predicted.max() <= 5
    assert np.sqrt(np.mean((predicted - examples.labels()) ** 2)) < 0.6 * examples.labels().std()


def test_the_number_of_weights_grows_with_training_items_not_with_the_catalog() -> None:
    seen = np.zeros(10_000)
    seen[:3] = 1
    matrices = [weight for weight in ItemKernel(8, 16, seen).parameters() if weight.ndim == 2]
    assert max(len(weight) for weight in matrices) == 3

"""The rating head: biases and attention over similar items, clamped stars, penalties, groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lorarec.contracts import DataError, Part, Rows
from lorarec.testing import made
from lorarec_heads.rating import Rating

World = Any


def rmse(world: World, head: Any) -> float:
    examples = world.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        scores = head.eval().score(world.encoder(batch), batch).numpy()
    return float(np.sqrt(np.mean((scores - examples.labels()) ** 2)))


def hand(stars: list[float], candidate: int, head: Any, toy: World, history: list[int]) -> float:
    """What the formula of the docstring says, item by item."""
    with torch.no_grad():
        text = torch.nn.functional.layer_norm(toy.vectors, toy.vectors.shape[1:]) * head.text.log_weight.exp()
        vectors = torch.nn.functional.normalize(text + head.text.shift, dim=1)
        factors = head.factors(torch.arange(24))
        vectors = torch.nn.functional.normalize(torch.cat([vectors, factors], dim=1), dim=1)
        statistics = toy.data.statistics
        unit = (statistics.label_max - statistics.label_min) / 4
        bias = head.bias(torch.arange(24))[:, 0]
        residual = [
            (given - statistics.label_mean) / unit - bias[item] for given, item in zip(stars, history, strict=True)
        ]
        user = sum(residual) / (len(stars) + head.log_prior_events.exp())
        weight = [(head.log_sharpness.exp() * (vectors[candidate] @ vectors[item] - 1)).exp() for item in history]
        left = sum(w * (r - user) for w, r in zip(weight, residual, strict=True))
        found = bias[candidate] + user + head.gain * left / (sum(weight) + head.log_prior_weight.exp())
        return float((statistics.label_mean + unit * found).clamp(statistics.label_min, statistics.label_max))


def test_stars_are_mean_and_biases_and_attention_over_the_users_other_stars(world: Callable[..., World]) -> None:
    toy = world(made(Rating, factors=4), "rating")
    head = toy.build().eval()
    with torch.no_grad():
        head.bias.weight.normal_(std=0.2)
        head.factors.weight.normal_(std=0.5)
    asked = toy.requests([[1, 2, 3], [4], []], [[5, 1, 4], [2], []], [6, 0, 3])
    batch = asked.batch(np.arange(3))
    with torch.no_grad():
        scores = head.score(toy.encoder(batch), batch)
    by_hand = [hand([5, 1, 4], 6, head, toy, [1, 2, 3]), hand([2], 0, head, toy, [4])]
    assert scores[:2].tolist() == pytest.approx(by_hand, abs=1e-5)
    statistics = toy.data.statistics
    unit = (statistics.label_max - statistics.label_min) / 4
    alone = statistics.label_mean + unit * head.bias(torch.tensor([3])).item()
    assert scores[2].item() == pytest.approx(alone, abs=1e-5), "without a history, mean and bias of the item"


def test_events_without_feedback_say_nothing(world: Callable[..., World]) -> None:
    toy = world(made(Rating), "rating")
    head = toy.build().eval()
    asked = toy.requests([[1, 2, 3], [1, 3]], [[5, float("nan"), 4], [5, 4]], [6, 6])
    batch = asked.batch(np.arange(2))
    with torch.no_grad():
        scores = head.score(toy.encoder(batch), batch)
    torch.testing.assert_close(scores[0], scores[1])


def test_many_items_are_compared_as_few_are(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    toy = world(made(Rating), "rating")
    head, batch = toy.build().eval(), toy.examples().batch(np.arange(40))
    looked_up = head.losses(toy.encoder(batch), batch)
    monkeypatch.setattr("lorarec_heads.rating.GRAM_LIMIT", 0)
    torch.testing.assert_close(head.losses(toy.encoder(batch), batch), looked_up)


def test_factors_learn_which_items_go_together_where_texts_tell_nothing(world: Callable[..., World]) -> None:
    errors = {}
    for factors in (0, 8):
        toy = world(made(Rating, factors=factors, **({"factor_penalty": 0.01} if factors else {})), "rating")
        toy.vectors = torch.ones_like(toy.vectors)
        head = toy.build()
        toy.train(head, steps=150, lr=0.05)
        errors[factors] = rmse(toy, head)
    assert errors[8] < 0.8 * errors[0]


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_every_weight_has_a_gradient_at_birth_and_the_text_after_a_step(
    world: Callable[..., World], encoding: str
) -> None:
    toy = world(made(Rating, encoding=encoding), "rating")
    head = toy.build()
    batch = toy.examples().batch(np.arange(40))
    toy.loss(head, batch).backward()
    assert [name for name, weight in head.named_parameters() if weight.grad is None] == []
    toy.train(head, steps=2)
    toy.vectors.requires_grad_()
    toy.loss(head, batch).backward()
    assert toy.vectors.grad is not None and toy.vectors.grad.any()


def test_it_beats_the_mean_before_and_after_training(world: Callable[..., World]) -> None:
    toy = world(made(Rating, factors=4), "rating")
    labels = toy.examples(Part.TEST).labels()
    mean = float(np.sqrt(np.mean((labels - toy.data.statistics.label_mean) ** 2)))
    head = toy.build()
    at_birth = rmse(toy, head)
    toy.train(head, steps=40)
    assert at_birth < 0.9 * mean
    assert rmse(toy, head) < 0.6 * mean


def test_stars_stay_in_the_range_of_the_training_labels_but_the_loss_does_not(
    world: Callable[..., World],
) -> None:
    toy = world(made(Rating), "rating")
    head = toy.build().eval()
    with torch.no_grad():
        head.bias.weight += 100.0
    batch = toy.examples().batch(np.arange(30))
    scores = head.score(toy.encoder(batch), batch)
    assert scores.max() <= toy.data.statistics.label_max
    losses = head.losses(toy.encoder(batch), batch)
    statistics = toy.data.statistics
    assert losses.min() > (statistics.label_max - statistics.label_min) ** 2, "what is clamped could not cost as much"


def test_stars_of_another_range_are_learned_as_well(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    errors = []
    for scale in (1, 20):
        given = events | {"rating": [scale * stars for stars in events["rating"]]}
        toy = world(made(Rating), "rating", given={name: given[name] for name in ("user", "item", "time", "rating")})
        errors.append(rmse(toy, toy.build()))
    assert errors[1] == pytest.approx(20 * errors[0], rel=1e-3)


@pytest.mark.parametrize("scope", ["past", "training"])
def test_groups_contain_each_training_event_once_and_one_user_each(world: Callable[..., World], scope: str) -> None:
    section: dict[str, Any] = {"split": {"by": "random"}, "history": {"scope": scope}}
    toy = world(made(Rating, targets_per_example=6), "rating", **section)
    examples = toy.examples()
    groups = np.stack(list(examples.table.with_format(None)["events"]))
    events = groups[groups >= 0]
    assert sorted(events) == toy.data.interactions.rows(Part.TRAIN).tolist()
    for group in groups:
        assert len(set(toy.data.interactions.user[group[group >= 0]])) == 1
    assert examples.batch(np.arange(len(examples))).count == len(events)


def test_groups_have_the_loss_of_their_single_targets(world: Callable[..., World]) -> None:
    grouped = world(made(Rating, targets_per_example=6), "rating")
    single = world(made(Rating), "rating")
    head = single.build().eval()
    losses = []
    for toy in (grouped, single):
        examples = toy.examples()
        losses.append(toy.loss(head, examples.batch(np.arange(len(examples)))))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-3)


def test_groups_are_for_training_alone(world: Callable[..., World]) -> None:
    toy = world(made(Rating, targets_per_example=6), "rating")
    assert len(toy.examples(Part.TEST)) == len(toy.data.interactions.rows(Part.TEST))


def test_training_may_look_at_less_of_the_history(world: Callable[..., World]) -> None:
    toy = world(made(Rating, max_history=9, training_history=3), "rating")
    lengths = {
        part: toy.examples(part).batch(np.arange(80)).tensors["history"].shape[1] for part in (Part.TRAIN, Part.TEST)
    }
    assert lengths == {Part.TRAIN: 3, Part.TEST: 9}


def test_penalties_pull_weights_to_zero(world: Callable[..., World]) -> None:
    sizes = {}
    for penalty in (0.0, 5.0):
        toy = world(made(Rating, bias_penalty=penalty, factor_penalty=penalty), "rating")
        head = toy.build()
        toy.train(head, steps=25)
        sizes[penalty] = head.bias.weight.square().sum() + head.factors.weight.square().sum()
    assert sizes[5.0] < 0.5 * sizes[0.0]


def test_labels_all_alike_are_refused() -> None:
    with pytest.raises(DataError, match=r"All 3 values of 'rating' are 4.*data\.columns\.rating"):
        made(Rating).check_labels(np.full(3, 4.0), Rows())


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        made(Rating, factor=3)


def test_a_penalty_on_weights_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="factor_penalty would do nothing with factors=0"):
        made(Rating, factors=0, factor_penalty=1.0)
    with pytest.raises(ValidationError, match="bias_penalty would do nothing with biases=False"):
        made(Rating, biases=False, bias_penalty=1.0)


def test_the_earlier_name_of_a_setting_is_refused_by_the_new_one() -> None:
    with pytest.raises(ValidationError, match="facts_per_example is called targets_per_example now"):
        made(Rating, facts_per_example=8)

"""The rating head: ridge regression in each user, clamped stars, penalties, groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lorarec.contracts import DataError, Part
from lorarec.testing import made
from lorarec_heads.kernel_ridge import kernel_ridge
from lorarec_heads.rating import Rating

World = Any


def rmse(world: World, head: Any) -> float:
    examples = world.examples(Part.TEST)
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        scores = head.eval().score(world.encoder(batch), batch).numpy()
    return float(np.sqrt(np.mean((scores - examples.labels()) ** 2)))


def drawn(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Features of 7 items; candidates, histories, whose they are, residuals and noise of 2 users; in double
    precision."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(7, 3, generator=generator).double()
    candidate, history = torch.tensor([6, 0]), torch.tensor([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    return (
        features,
        candidate,
        history,
        torch.arange(2),
        torch.randn(2, 6, generator=generator).double(),
        torch.tensor(0.7).double(),
    )


def test_ridge_regression_is_the_textbook_formula() -> None:
    features, candidate, history, owner, residual, noise = drawn()
    found = kernel_ridge(features, candidate, history, owner, residual, torch.ones(2, 6, dtype=torch.bool), noise)
    for user in range(2):
        x, y = features[history[user]], residual[user]
        weights = torch.linalg.solve(x.T @ x + noise * torch.eye(3).double(), x.T @ y)
        torch.testing.assert_close(found[user], weights @ features[candidate[user]])


def test_the_gradient_of_the_ridge_regression_is_exact() -> None:
    features, candidate, history, owner, residual, noise = drawn()
    mask = torch.tensor([[True, True, False, True, True, False], [False] * 6])
    assert torch.autograd.gradcheck(
        lambda f, r, n: kernel_ridge(f, candidate, history, owner, r, mask, n),
        (features.requires_grad_(), residual.requires_grad_(), noise.requires_grad_()),
    )


def test_events_without_feedback_and_padding_say_nothing() -> None:
    features, candidate, history, owner, residual, noise = drawn()
    mask = torch.tensor([[False, True, False, True, False, False]] * 2)
    found = kernel_ridge(features, candidate, history, owner, residual, mask, noise)
    kept = [1, 3]
    alone = kernel_ridge(features, candidate, history[:, kept], owner, residual[:, kept], mask[:, kept], noise)
    torch.testing.assert_close(found, alone)


def test_many_items_are_compared_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = drawn()
    mask = torch.ones(2, 6, dtype=torch.bool)
    looked_up = kernel_ridge(*arguments[:5], mask, arguments[5])
    monkeypatch.setattr("lorarec_heads.kernel_ridge.GRAM_LIMIT", 0)
    torch.testing.assert_close(kernel_ridge(*arguments[:5], mask, arguments[5]), looked_up)


def test_it_beats_the_mean_before_and_after_training(world: Callable[..., World]) -> None:
    toy = world(made(Rating, factors=4), "rating")
    labels = toy.examples(Part.TEST).labels()
    mean = float(np.sqrt(np.mean((labels - toy.data.statistics.label_mean) ** 2)))
    head = toy.build()
    at_birth = rmse(toy, head)
    toy.train(head, steps=40)
    assert at_birth < 0.8 * mean
    assert rmse(toy, head) < at_birth


def test_stars_stay_in_the_range_of_the_training_labels_but_the_loss_does_not(
    world: Callable[..., World],
) -> None:
    toy = world(made(Rating), "rating")
    head = toy.build().eval()
    with torch.no_grad():
        head.bias += 100.0
    batch = toy.examples().batch(np.arange(30))
    scores = head.score(toy.encoder(batch), batch)
    assert scores.max() <= toy.data.statistics.label_max
    losses = head.losses(toy.encoder(batch), batch)
    statistics = toy.data.statistics
    assert losses.min() > (statistics.label_max - statistics.label_min) ** 2, "what is clamped could not cost as much"


def test_stars_of_another_range_are_learnt_as_well(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    events["rating"] = [20 * stars for stars in events["rating"]]
    toy = world(made(Rating), "rating")
    labels = toy.examples(Part.TEST).labels()
    assert rmse(toy, toy.build()) < 0.8 * labels.std()


@pytest.mark.parametrize("scope", ["past", "training"])
def test_groups_hold_each_training_event_once_and_one_user_each(world: Callable[..., World], scope: str) -> None:
    section: dict[str, Any] = {"split": {"by": "random"}, "history": {"scope": scope}}
    toy = world(made(Rating, facts_per_example=6), "rating", **section)
    examples = toy.examples()
    groups = np.stack(list(examples.table.with_format(None)["events"]))
    events = groups[groups >= 0]
    assert sorted(events) == toy.data.interactions.rows(Part.TRAIN).tolist()
    for group in groups:
        assert len(set(toy.data.interactions.user[group[group >= 0]])) == 1
    assert examples.batch(np.arange(len(examples))).count == len(events)


def test_groups_lose_as_single_facts_do(world: Callable[..., World]) -> None:
    grouped = world(made(Rating, facts_per_example=6), "rating")
    single = world(made(Rating), "rating")
    head = single.build().eval()
    losses = []
    for toy in (grouped, single):
        examples = toy.examples()
        losses.append(toy.loss(head, examples.batch(np.arange(len(examples)))))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-3)


def test_groups_are_for_training_alone(world: Callable[..., World]) -> None:
    toy = world(made(Rating, facts_per_example=6), "rating")
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
        sizes[penalty] = head.bias.square().sum() + head.kernel.factors.weight.square().sum()
    assert sizes[5.0] < 0.5 * sizes[0.0]


def test_labels_all_alike_are_refused() -> None:
    with pytest.raises(DataError, match=r"All 3 values of 'rating' are 4.*data\.columns\.rating"):
        made(Rating).check_labels(np.full(3, 4.0), np.arange(3))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        made(Rating, factor=3)


def test_a_penalty_on_weights_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="factor_penalty would do nothing with factors=0"):
        made(Rating, factors=0, factor_penalty=1.0)
    with pytest.raises(ValidationError, match="bias_penalty would do nothing with biases=False"):
        made(Rating, biases=False, bias_penalty=1.0)

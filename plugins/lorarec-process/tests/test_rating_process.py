"""The rating process: folds of the stars predicted from the others, new users and items, clamped stars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import lorarec
from lorarec.contracts import DataError, LorarecError, Part, Rows
from lorarec.testing import made
from lorarec_process import pair_process
from lorarec_process.rating_process import RatingProcess

World = Any
TRAINING: dict[str, Any] = {"split": {"by": "random"}, "history": {"scope": "training"}}


def toy_rating(world: Callable[..., World], folds: int = 8, **section: Any) -> World:
    return world(made(RatingProcess, folds=folds), "rating", **section)


def stars(toy: World, head: Any, examples: Any) -> np.ndarray:
    batch = examples.batch(np.arange(len(examples)))
    with torch.no_grad():
        predicted: np.ndarray = head.eval().score(toy.encoder(batch), batch).numpy()
    return predicted


def rmse(toy: World, head: Any) -> float:
    examples = toy.examples(Part.TEST)
    return float(np.sqrt(np.mean((stars(toy, head, examples) - examples.labels()) ** 2)))


def test_it_beats_the_mean_before_and_after_training(world: Callable[..., World]) -> None:
    toy = toy_rating(world)
    labels = toy.examples(Part.TEST).labels()
    mean = float(np.sqrt(np.mean((labels - toy.data.statistics.label_mean) ** 2)))
    head = toy.build()
    head.refresh(toy.vectors)
    untrained = rmse(toy, head)
    toy.train(head, steps=8, lr=0.15)
    head.refresh(toy.vectors)
    assert untrained < 0.8 * mean
    assert rmse(toy, head) < untrained


@pytest.mark.parametrize("size", [1, 8])
def test_predictions_from_histories_equal_those_of_the_whole_process(world: Callable[..., World], size: int) -> None:
    """Users have no stored weights: theirs follow from their history and the weights of items."""
    toy = toy_rating(world, **TRAINING)
    head = toy.build()
    toy.train(head, steps=3)
    head.refresh(toy.vectors)
    examples = toy.examples(Part.TEST)
    pairs, order = head._pairs(head.event_user, head.event_item)
    process = head._process(head._directions.features(toy.vectors))
    weights = process.weights(pairs, process.solve(pairs, head.event_target[order], 1e-6))
    pairs_of_test, order_of_test = head._pairs(torch.from_numpy(examples.users), torch.from_numpy(examples.items))
    with torch.no_grad():
        whole = process.at(pairs_of_test, weights) * head._unit + head._mean
    blocks = [examples.batch(rows) for rows in np.array_split(np.arange(len(examples)), size)]
    with torch.no_grad():
        predicted = torch.cat([head.score(toy.encoder(batch), batch) for batch in blocks])
    torch.testing.assert_close(predicted[order_of_test], whole.clamp(1, 5), rtol=0, atol=0.02)


def test_a_new_user_gets_the_stars_of_a_training_user_with_the_same_history(world: Callable[..., World]) -> None:
    toy = toy_rating(world, **TRAINING)
    head = toy.build()
    head.refresh(toy.vectors)
    examples = toy.examples(Part.TEST)
    past = examples.collation.histories.before(int(examples.events[0]))
    requests = toy.requests([past.items.tolist()], [past.feedback.tolist()], [int(examples.items[0])])
    assert stars(toy, head, requests)[0] == pytest.approx(stars(toy, head, examples)[0], abs=1e-4)


def test_a_new_item_is_scored_by_its_text(world: Callable[..., World]) -> None:
    """Item 23 is not in training; users who like even items and no odd ones must not like it."""
    toy = toy_rating(world)
    head = toy.build()
    toy.train(head, steps=8, lr=0.15)
    head.refresh(toy.vectors)
    cold = next(row for row, count in enumerate(toy.data.statistics.item_counts) if count == 0)
    ids = [int(item) for item in toy.data.catalog.ids]
    odd, even = ([row for row, item in enumerate(ids) if item % 2 == parity][:8] for parity in (1, 0))
    ratings = [[5.0] * 8 + [1.0] * 8, [1.0] * 8 + [5.0] * 8]
    predicted = stars(toy, head, toy.requests([odd + even] * 2, ratings, [cold, cold]))
    assert abs(predicted[0] - predicted[1]) > 1
    assert (predicted[0] > predicted[1]) == (ids[cold] % 2 == 1)


def test_rated_items_without_stars_change_the_prediction(world: Callable[..., World]) -> None:
    toy = toy_rating(world)
    head = toy.build()
    head.refresh(toy.vectors)
    unknown = float("nan")
    predicted = stars(toy, head, toy.requests([[], [1, 3, 5, 7]], [[], [unknown] * 4], [9, 9]))
    assert predicted[0] != predicted[1]


def test_columns_of_the_item_table_distinguish_items(world: Callable[..., World]) -> None:
    """All texts have the same vector here; the column has the parity of an item."""
    toy = toy_rating(world)
    parity = np.array([int(item) % 2 for item in toy.data.catalog.ids])
    features = {"parity": np.eye(2, dtype=np.float32)[parity]}
    statistics = replace(toy.data.statistics, item_features=features)
    same_texts = replace(toy, vectors=torch.ones_like(toy.vectors))
    differences = {}
    for columns in ((), ("parity",)):
        head = made(RatingProcess, item_columns=columns).build(same_texts.vectors.shape[1], statistics)
        head.refresh(same_texts.vectors)
        requests = same_texts.requests([list(range(20))], [[1.0 + 4.0 * parity[row] for row in range(20)]], [23])
        differences[columns] = abs(stars(same_texts, head, requests)[0] - toy.data.statistics.label_mean)
    assert differences["parity",] > differences[()]


def test_folds_contain_each_training_event_once(world: Callable[..., World]) -> None:
    toy = toy_rating(world, folds=7)
    examples = toy.examples()
    assert len(examples) == 7
    batch = examples.batch(np.arange(7))
    assert sorted(batch.tensors["targets"].tolist()) == toy.data.interactions.rows(Part.TRAIN).tolist()
    sizes = torch.bincount(batch.tensors["fold"])
    assert sizes.max() - sizes.min() <= 1


def test_fewer_stars_than_folds_make_as_many_folds_as_stars(
    world: Callable[..., World], events: dict[str, list[Any]]
) -> None:
    toy = toy_rating(world, folds=5000)
    assert len(toy.examples()) == len(toy.data.interactions.rows(Part.TRAIN))


def test_a_fold_is_predicted_without_its_own_stars(world: Callable[..., World]) -> None:
    toy = toy_rating(world)
    head = toy.build()
    batch = toy.examples().batch(np.arange(1))
    errors = head.losses(toy.encoder(batch), batch).sqrt()
    hidden = torch.isin(head.event_rows, batch.tensors["targets"])
    head.event_target[hidden] += 100.0 / head._unit
    torch.testing.assert_close((head.losses(toy.encoder(batch), batch).sqrt() - 100).abs(), errors, rtol=0, atol=1e-3)


def test_the_gradient_with_respect_to_the_texts_is_exact(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters are trained by this gradient."""
    monkeypatch.setattr(pair_process, "ROUGH", 1e-6)
    toy = toy_rating(world)
    head, batch = toy.build(), toy.examples().batch(np.arange(8))
    texts = toy.vectors.clone().requires_grad_()
    head.losses(toy.encoder(batch, texts), batch).sum().backward()
    assert texts.grad is not None
    along = torch.randn(texts.shape, generator=torch.Generator().manual_seed(2))
    along -= along[batch.tensors["items"]].mean(dim=0)  # their mean is detached
    ends = [head.losses(toy.encoder(batch, toy.vectors + sign * 0.02 * along), batch).sum() for sign in (1, -1)]
    assert (texts.grad * along).sum().item() == pytest.approx((ends[0] - ends[1]).item() / 0.04, rel=0.05)


def test_an_adapter_learns_through_it(tmp_path: Path) -> None:
    run = lorarec.train(
        {
            "name": "adapted",
            "data": {"source": {"name": "synthetic", "users": 20, "items": 40, "events": 240}},
            "backbone": {"name": "minilm", "max_length": 32},
            "adapter": "lora",
            "head": "rating_process",
            "train": {"epochs": 1, "batch_size": 1, "learning_rate": 1e-2, "max_steps": 3},
        },
        output=tmp_path / "run",
    )
    # They are initialized to zeros, in every layer.
    learned = {name: weight for name, weight in run.model.network.named_parameters() if "lora_B" in name}
    assert learned
    assert all(weight.any() for weight in learned.values())


def test_stars_of_validation_and_test_have_no_effect(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    results = []
    for change in (0.0, 1.0):
        parts = toy_rating(world, **TRAINING).data.interactions
        held_out = {row for part in (Part.VALIDATION, Part.TEST) for row in parts.rows(part).tolist()}
        assert held_out
        given = {name: list(events[name]) for name in ("user", "item", "time", "rating")}
        given["rating"] = [
            6 - stars if change and row in held_out else stars for row, stars in enumerate(given["rating"])
        ]
        toy = toy_rating(world, given=given, **TRAINING)
        head = toy.build()
        losses = toy.train(head, steps=3)
        head.refresh(toy.vectors)
        results.append((losses, head.state_dict(), stars(toy, head, toy.examples(Part.TEST))))
    (losses, state, answers), (others, other_state, other_answers) = results
    assert losses == others
    assert all(torch.equal(tensor, other_state[name]) for name, tensor in state.items())
    assert np.array_equal(answers, other_answers)


def test_stars_stay_in_the_range_of_the_training_labels(world: Callable[..., World]) -> None:
    toy = toy_rating(world)
    head = toy.build()
    head.refresh(toy.vectors)
    head.item_weights += 100.0
    predicted = stars(toy, head, toy.examples(Part.TEST))
    assert predicted.max() == toy.data.statistics.label_max


def test_stars_of_another_range_are_learned_as_well(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    one = toy_rating(world)
    head = one.build()
    head.refresh(one.vectors)
    error = rmse(one, head)
    events["rating"] = [20 * stars for stars in events["rating"]]
    other = toy_rating(world)
    head = other.build()
    head.refresh(other.vectors)
    assert rmse(other, head) == pytest.approx(20 * error, rel=1e-3)


def test_the_stars_of_rows_with_weight_0_have_no_effect(
    world: Callable[..., World], events: dict[str, list[Any]]
) -> None:
    light = np.arange(len(events["user"])) % 3 == 0
    given = events | {"importance": np.where(light, 0.0, 2.0).tolist()}
    toy = world(made(RatingProcess), "rating", given=given, columns={"weight": "importance"})
    head = toy.build()
    head.refresh(toy.vectors)
    kept = head.item_weights.clone()
    rows = torch.from_numpy(light)[head.event_rows]
    head.event_target[rows] += 3.0
    head.refresh(toy.vectors)
    assert torch.equal(head.item_weights, kept)
    head.event_target[~rows] += 3.0
    head.refresh(toy.vectors)
    assert not torch.equal(head.item_weights, kept), "other rows have an effect"


def test_a_loaded_head_needs_no_training_rows_to_predict(world: Callable[..., World]) -> None:
    toy = toy_rating(world)
    head = toy.build()
    head.refresh(toy.vectors)
    statistics = replace(toy.data.statistics, events=None, user_counts=np.empty(0, np.int64))
    twin = toy.task.build(toy.vectors.shape[1], statistics)
    twin.load_state_dict(head.state_dict())
    twin.refresh(toy.vectors)
    examples = toy.examples(Part.TEST)
    assert np.array_equal(stars(toy, twin, examples), stars(toy, head, examples))
    assert not any(name.startswith("event") for name in head.state_dict())


def test_rows_with_their_own_histories_are_refused(world: Callable[..., World]) -> None:
    given = {
        "item": [1, 2, 3] * 5,
        "history": [[2], [1], [1, 2]] * 5,
        "rating": [1.0, 5.0, 3.0] * 5,
        "split": ["train"] * 12 + ["test"] * 3,
    }
    with pytest.raises(DataError, match=r"rows have their own histories. Use head=rating"):
        toy_rating(world, given=given, split={"by": "column"}).examples()


def test_equal_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"All 3 values of 'rating' are 4.*data\.columns\.rating"):
        made(RatingProcess).check_labels(np.full(3, 4.0), Rows())


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        made(RatingProcess, part=3)


def test_the_old_name_of_the_folds_is_refused_with_the_new_one() -> None:
    recipe = {"name": "old", "data": {"source": "synthetic"}, "backbone": "minilm", "adapter": "frozen"}
    with pytest.raises(LorarecError, match=r"no setting 'parts': it is called 'folds' now"):
        lorarec.train({**recipe, "head": {"name": "rating_process", "parts": 20}})

"""Negatives: a pure function of seed, epoch and row, and never an excluded item."""

from __future__ import annotations

import numpy as np
import pytest

from lorarec.data.negatives import NegativeSampler, Sampling
from lorarec.errors import PluginError


@pytest.mark.parametrize("row", range(20))
def test_negatives_are_distinct_and_never_excluded(row: int) -> None:
    exclude = np.random.default_rng(row).integers(0, 50, 30)
    drawn = NegativeSampler(1, 50).for_row(0, row, 12, exclude)
    assert len(set(drawn.tolist())) == 12
    assert not set(drawn.tolist()) & set(exclude.tolist())
    assert drawn.min() >= 0 and drawn.max() < 50


def test_the_same_seed_epoch_and_row_draw_the_same() -> None:
    sampler, none = NegativeSampler(1, 1000), np.empty(0, np.int64)
    first = sampler.for_row(2, 3, 8, none).tolist()
    assert first == sampler.for_row(2, 3, 8, none).tolist()
    assert first != sampler.for_row(3, 3, 8, none).tolist()
    assert first != sampler.for_row(2, 4, 8, none).tolist()
    assert first != NegativeSampler(2, 1000).for_row(2, 3, 8, none).tolist()


def test_every_allowed_item_is_drawn_about_as_often() -> None:
    sampler, counts = NegativeSampler(1, 10), np.zeros(10)
    for row in range(4000):
        counts[sampler.for_row(0, row, 2, np.array([0, 4, 9]))] += 1
    assert counts[[0, 4, 9]].sum() == 0
    assert np.abs(counts[[1, 2, 3, 5, 6, 7, 8]] / (8000 / 7) - 1).max() < 0.1


def test_fewer_are_drawn_where_fewer_are_left() -> None:
    assert NegativeSampler(1, 4).for_row(0, 0, 9, np.array([1, 2])).tolist() in ([0, 3], [3, 0])
    assert NegativeSampler(1, 2).for_row(0, 0, 9, np.array([0, 1])).tolist() == []


def test_a_step_shares_distinct_sorted_negatives() -> None:
    drawn = NegativeSampler(1, 100).for_step(0, 7, 40)
    assert (np.diff(drawn) > 0).all()
    assert drawn.tolist() == NegativeSampler(1, 100).for_step(0, 7, 40).tolist()
    assert len(NegativeSampler(1, 5).for_step(0, 0, 40)) == 5


@pytest.mark.parametrize("by", ["uniform", "popularity", "mixed"])
def test_each_item_is_drawn_as_often_as_expected(by: Sampling) -> None:
    sampler = NegativeSampler(1, 6, np.array([0, 1, 2, 10, 100, 0]))
    drawn, expected = np.zeros(6), np.zeros(6)
    for step in range(3000):
        sample = sampler.sample_for_step(0, step, 4, by)
        assert len(sample.items) == 4 and (np.diff(sample.items) >= 0).all()
        np.add.at(drawn, sample.items, 1)
        expected[sample.items] = sample.expected
    assert expected.sum() == pytest.approx(4)
    assert np.abs(drawn / 3000 - expected).max() < 0.05


def test_popular_items_are_drawn_more_often_and_a_mixture_lies_between() -> None:
    counts = np.array([0, 999])
    share = {}
    for by in ("uniform", "popularity", "mixed"):
        sample = NegativeSampler(1, 2, counts).sample_for_step(0, 0, 500 if by != "uniform" else 2, by)  # type: ignore[arg-type]
        share[by] = sample.expected[sample.items == 1][0] / len(sample.items)
    assert share["popularity"] == pytest.approx(1000**0.75 / (1 + 1000**0.75))
    assert share["mixed"] == pytest.approx(2 / 3 * share["popularity"] + 1 / 3 * share["uniform"])


def test_a_steps_sample_depends_on_seed_epoch_and_step_alone() -> None:
    counts = np.arange(100)
    first = NegativeSampler(1, 100, counts).sample_for_step(0, 7, 40, "mixed").items.tolist()
    assert first == NegativeSampler(1, 100, counts).sample_for_step(0, 7, 40, "mixed").items.tolist()
    assert first != NegativeSampler(1, 100, counts).sample_for_step(0, 8, 40, "mixed").items.tolist()
    assert first != NegativeSampler(1, 100, counts).sample_for_step(1, 7, 40, "mixed").items.tolist()
    assert first != NegativeSampler(2, 100, counts).sample_for_step(0, 7, 40, "mixed").items.tolist()


def test_sampling_by_popularity_needs_counts() -> None:
    with pytest.raises(PluginError, match="item_counts"):
        NegativeSampler(1, 5).sample_for_step(0, 0, 2, "popularity")
    with pytest.raises(PluginError, match="item_counts"):
        NegativeSampler(1, 5).beside_targets(0, 0, 2, np.array([1]))


def test_targets_of_a_batch_and_uniform_draws_occur_once_each() -> None:
    sampler, targets = NegativeSampler(1, 50, np.arange(50)), np.array([7, 3, 7])
    sample = sampler.beside_targets(0, 4, 10, targets)
    assert sample.items.tolist() == sorted({3, 7, *sampler.for_step(0, 4, 10).tolist()})


def test_the_items_of_a_batch_occur_as_often_as_expected_for_one_target() -> None:
    """Each draw of an item has the weight 1 / expected: over many batches, the mean weight of every item is 1."""
    counts = np.array([0, 1, 2, 10, 100, 7])
    sampler, weight, batches = NegativeSampler(1, 6, counts), np.zeros(6), 4000
    generator = np.random.default_rng(0)
    for step in range(batches):
        others = generator.choice(6, 20, p=counts / counts.sum())
        sample = sampler.beside_targets(0, step, 2, np.append(others, 0))
        weight[sample.items] += 1 / sample.expected
    # Item 0 is the target itself, which is not among its own negatives.
    assert np.abs(weight[1:] / batches - 1).max() < 0.05


def test_a_target_is_expected_among_the_other_targets_and_the_uniform_draws() -> None:
    """5 targets: a target has 4 others, whose expected counts follow from the shares of events."""
    counts, targets = np.array([6, 3, 1, 0]), np.array([0, 0, 1, 2, 0])
    sample = NegativeSampler(1, 4, counts).beside_targets(0, 0, 4, targets)
    assert sample.items.tolist() == [0, 1, 2, 3]
    times = np.array([4, 2, 2, 1])  # as a target, and once by the draw of all four
    assert sample.expected == pytest.approx((4 * counts / 10 + 1) / times)


def test_the_order_of_a_rows_negatives_is_independent_of_their_catalog_rows() -> None:
    first = [int(NegativeSampler(1, 100).for_row(0, row, 3, np.array([5])).argmin()) for row in range(300)]
    assert min(np.bincount(first, minlength=3)) > 70


def test_each_epoch_and_each_step_draws_another_sample() -> None:
    sampler = NegativeSampler(1, 1000)
    drawn = {tuple(sampler.for_step(epoch, step, 5).tolist()) for epoch in range(3) for step in range(3)}
    assert len(drawn) == 9


@pytest.mark.parametrize("by", ["popularity", "mixed"])
def test_ten_million_items_are_drawn_as_often_as_their_popularity_says(by: Sampling) -> None:
    items, draws = 10_000_000, 2_000_000
    counts = (1000 / np.arange(1, items + 1)).astype(np.int64)  # a few popular items, and millions without an event
    sampler = NegativeSampler(3, items, counts)
    weights = (counts + 1.0) ** 0.75
    exact = weights / weights.sum()
    if by == "mixed":
        exact = exact * 2 / 3 + 1 / 3 / items
    sample = sampler.sample_for_step(0, 0, draws, by)
    assert np.allclose(sample.expected, draws * exact[sample.items], rtol=1e-9)
    edges = np.r_[0, 10, 100, 1000, 10_000, np.linspace(10**5, items, 90).astype(np.int64)]
    drawn = np.histogram(sample.items, edges)[0]
    wanted = draws * np.diff(np.r_[0, np.cumsum(exact)][edges])
    assert (np.abs(drawn - wanted) < 5 * np.sqrt(wanted)).all()
    # Each item has an interval of its own: cumulative sums in float32 would leave a third of them without one.
    _, bounds = sampler._popular if by == "popularity" else sampler._mixed
    assert (np.diff(bounds) > 0.5 * exact[1:]).all()

"""Negatives: a pure function of seed, epoch and row, and never what was to be excluded."""

from __future__ import annotations

import numpy as np
import pytest

from lorarec.data.negatives import NegativeSampler


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

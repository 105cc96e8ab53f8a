"""Random streams: no two purposes share their numbers, and every example is visited once an epoch, whatever the batches
and processes."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lorarec.data.streams import Purpose, derived_seed, epoch_order, generator, step_batches, steps_per_epoch

ROOT = Path(__file__).resolve().parents[2]
SHAPES = [(1, 1, 1, 1), (10, 3, 2, 1), (100, 8, 4, 3), (97, 5, 1, 2), (64, 4, 2, 2), (5, 16, 4, 4)]


def test_no_two_purposes_or_moments_share_a_stream() -> None:
    keys = [
        (seed, purpose, moment)
        for seed in (0, 1, 2**32 - 1)
        for purpose in Purpose
        for moment in product((0, 1, 7), repeat=purpose.value[1])
    ]
    first = {generator(seed, purpose, *moment).integers(2**63) for seed, purpose, moment in keys}
    assert len(first) == len(keys)


def test_a_stream_starts_from_its_beginning_each_time_it_is_asked_for() -> None:
    draws = [generator(5, Purpose.EPOCH_ORDER, 3).integers(2**63) for _ in range(2)]
    assert draws[0] == draws[1]
    assert derived_seed(5, Purpose.HEAD_WEIGHTS) == derived_seed(5, Purpose.HEAD_WEIGHTS)


@pytest.mark.parametrize("moment", [(), (1, 2)])
def test_a_moment_of_another_length_is_refused_as_padding_would_hide_it(moment: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="EPOCH_ORDER takes 1 numbers"):
        generator(5, Purpose.EPOCH_ORDER, *moment)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_that_would_take_two_words_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="EPOCH_ORDER"):
        generator(5, Purpose.EPOCH_ORDER, number)


def test_the_core_has_no_other_generator_of_numpy() -> None:
    """The laws in lorarec.testing, which draw data of their own, aside."""
    drawing = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "lorarec").rglob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in ("default_rng(", "SeedSequence("))
    ]
    assert [path for path in drawing if not path.startswith("lorarec/testing/")] == ["lorarec/data/streams.py"]


def test_an_epoch_visits_every_row_once_in_an_order_of_its_own() -> None:
    first, again, second = epoch_order(50, 3, 0), epoch_order(50, 3, 0), epoch_order(50, 3, 1)
    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() == again.tolist() != second.tolist()
    assert first.tolist() != epoch_order(50, 4, 0).tolist()


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_blocks_of_neighbors_stay_together_and_are_cut_anew_each_epoch(rows: int) -> None:
    first, second = epoch_order(rows, 3, 0, block=4), epoch_order(rows, 3, 1, block=4)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(rows))
    if rows > 4:
        steps = np.diff(first)
        assert (steps == 1).mean() > 0.6, "neighbors must follow each other"
        assert (steps != 1).sum() > rows // 8, "but blocks must be shuffled"
        cuts = [set(order[1:][np.diff(order) != 1] % 4) for order in (first, second)]
        assert cuts[0] != cuts[1], "the same neighbors must not meet in every epoch"


@pytest.mark.parametrize(("rows", "batch", "accumulate", "processes"), SHAPES)
def test_the_batches_of_a_step_are_its_window_exactly(rows: int, batch: int, accumulate: int, processes: int) -> None:
    order = epoch_order(rows, 1, 0)
    size = batch * accumulate * processes
    steps = steps_per_epoch(rows, batch, accumulate, processes)
    visited = []
    for step in range(steps):
        taken = [step_batches(order, step, batch, accumulate, p, processes) for p in range(processes)]
        assert all(len(micros) == accumulate for micros in taken)
        assert all(len(micro) <= batch for micros in taken for micro in micros)
        in_order = np.concatenate([taken[p][m] for m in range(accumulate) for p in range(processes)])
        assert in_order.tolist() == order[step * size : (step + 1) * size].tolist()
        assert len(in_order)
        visited += in_order.tolist()
    assert visited == order.tolist()


@pytest.mark.parametrize(("rows", "batch", "accumulate"), [(100, 4, 3), (97, 5, 2)])
def test_two_processes_see_what_one_sees_with_twice_the_batch(rows: int, batch: int, accumulate: int) -> None:
    order = epoch_order(rows, 1, 0)
    for step in range(steps_per_epoch(rows, batch, accumulate, 2)):
        one = step_batches(order, step, 2 * batch, accumulate, 0, 1)
        left, right = (step_batches(order, step, batch, accumulate, p, 2) for p in range(2))
        for whole, a, b in zip(one, left, right, strict=True):
            assert whole.tolist() == [*a.tolist(), *b.tolist()]


def test_a_short_last_window_leaves_some_processes_empty_handed() -> None:
    order = np.arange(9)
    assert [micro.tolist() for micro in step_batches(order, 1, 4, 1, 0, 2)] == [[8]]
    assert [micro.tolist() for micro in step_batches(order, 1, 4, 1, 1, 2)] == [[]]

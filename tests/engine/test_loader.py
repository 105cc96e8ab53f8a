"""Loader: every example is visited once an epoch, whatever the batches and processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lorarec.contracts import Batch
from lorarec.engine.loader import Loader, epoch_order, micro_batch_rows, steps_per_epoch

SHAPES = [(1, 1, 1, 1), (10, 3, 2, 1), (100, 8, 4, 3), (97, 5, 1, 2), (64, 4, 2, 2), (5, 16, 4, 4)]


def test_an_epoch_visits_every_row_once_in_a_new_order() -> None:
    first, again, second = epoch_order(50, 3, 0), epoch_order(50, 3, 0), epoch_order(50, 3, 1)
    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() == again.tolist() != second.tolist()
    assert first.tolist() != epoch_order(50, 4, 0).tolist()


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_blocks_of_neighbors_stay_together_and_are_cut_differently_each_epoch(rows: int) -> None:
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
        taken = [micro_batch_rows(order, step, batch, accumulate, p, processes) for p in range(processes)]
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
        one = micro_batch_rows(order, step, 2 * batch, accumulate, 0, 1)
        left, right = (micro_batch_rows(order, step, batch, accumulate, p, 2) for p in range(2))
        for whole, a, b in zip(one, left, right, strict=True):
            assert whole.tolist() == [*a.tolist(), *b.tolist()]


def test_a_short_last_window_leaves_some_processes_without_examples() -> None:
    order = np.arange(9)
    assert [micro.tolist() for micro in micro_batch_rows(order, 1, 4, 1, 0, 2)] == [[8]]
    assert [micro.tolist() for micro in micro_batch_rows(order, 1, 4, 1, 1, 2)] == [[]]


class Rows:
    """Examples whose batches hold their rows and nothing else."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def batch(self, rows: np.ndarray, epoch: int, step: int) -> Batch:
        return Batch(torch.from_numpy(rows), len(rows))


@pytest.mark.parametrize("rows", [1, 9, 17, 24, 25])
def test_every_process_has_as_many_micro_batches_and_placeholders_count_nothing(rows: int) -> None:
    # Sharded weights are gathered for each micro-batch by all processes together.
    examples: Any = Rows(rows)
    loaders = [Loader(examples, 3, batch_size=4, accumulate=3, process=process, processes=2) for process in range(2)]
    for each in zip(*(loader.steps(0) for loader in loaders), strict=True):
        assert len({len(batches.batches) for batches in each}) == 1
        assert all(len(batches.real) + batches.idle == len(batches.batches) for batches in each)
        assert not each[0].idle
    taken = [batch.rows for loader in loaders for batches in loader.steps(0) for batch in batches.real]
    assert sorted(torch.cat(taken).tolist()) == list(range(rows))
    assert sum(batches.count for loader in loaders for batches in loader.steps(0)) == rows

"""Loader: the order of an epoch's examples, cut into optimizer steps, each collated one step ahead.

The order is a pure function of (seed, epoch), whatever the number of processes. An optimizer step takes the next
batch_size * accumulate * processes examples of it, its window; the last window of an epoch may be smaller. No example
is dropped and none padded, so a small last window leaves some processes with smaller or empty micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lorarec.contracts import Batch
from lorarec.contracts.batch import Examples
from lorarec.data.streams import Purpose, generator


def epoch_order(rows: int, seed: int, epoch: int, block: int = 1) -> np.ndarray:
    """[rows] int64: every example once, shuffled for this epoch in blocks of `block` neighbors, which are cut
    differently in each epoch."""
    draw = generator(seed, Purpose.EPOCH_ORDER, epoch)
    if block == 1:
        return draw.permutation(rows).astype(np.int64, copy=False)
    offset = int(draw.integers(block))
    starts = draw.permutation(np.arange(-offset, rows, block))
    examples = (starts[:, None] + np.arange(block)).ravel()
    order: np.ndarray = examples[(examples >= 0) & (examples < rows)]
    return order


def steps_per_epoch(rows: int, batch_size: int, accumulate: int, processes: int) -> int:
    """Number of optimizer steps of an epoch."""
    return -(-rows // (batch_size * accumulate * processes))


def micro_batch_rows(
    order: np.ndarray, step: int, batch_size: int, accumulate: int, process: int, processes: int
) -> list[np.ndarray]:
    """The `accumulate` micro-batches of one process in one step of an epoch, at most batch_size examples each, possibly
    empty.

    Micro-batch m of all processes is one block of the window, which they divide in order of rank: two
    processes with batches of B read the same micro-batches as one process with batches of 2B.
    """
    blocks = step * accumulate + np.arange(accumulate)
    starts = (blocks * processes + process) * batch_size
    return [order[start : start + batch_size] for start in starts]


@dataclass(frozen=True)
class StepBatches:
    """The micro-batches of one optimizer step on one process."""

    batches: list[Batch]
    idle: int = 0
    """How many of them, the last ones, are placeholders of weight 0: this process has fewer examples than others, and
    sharded weights are gathered for as many micro-batches on every process."""

    @property
    def real(self) -> list[Batch]:
        """Those with examples of the step."""
        return self.batches[: len(self.batches) - self.idle]

    @property
    def count(self) -> int:
        """Supervised targets of this process's share of the step."""
        return sum(batch.count for batch in self.real)

    @property
    def weight(self) -> float:
        """Their total weight in the mean of the step."""
        return sum((batch.weight for batch in self.real), start=0.0)


@dataclass(frozen=True)
class Loader:
    """The batches of each step are a pure function of (seed, epoch, step): a resumed run skips without drawing any."""

    examples: Examples
    seed: int
    batch_size: int
    accumulate: int
    process: int
    processes: int
    shuffle_block_size: int = 1
    """Number of neighboring examples that stay together, see `train.shuffle_block_size`."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch; the last may be smaller, none is dropped."""
        return steps_per_epoch(len(self.examples), self.batch_size, self.accumulate, self.processes)

    def steps(self, epoch: int, start: int = 0) -> Iterator[StepBatches]:
        """The steps of an epoch from step `start` on, each collated by a thread while the previous one trains."""
        order = epoch_order(len(self.examples), self.seed, epoch, self.shuffle_block_size)
        if self.shuffle_block_size > 1:
            order = np.argsort(self.examples.users, kind="stable")[order]
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[StepBatches] | None = None
            for step in range(start, self.steps_per_epoch):
                ready = ahead or pool.submit(self._step_batches, order, epoch, step)
                last = step + 1 == self.steps_per_epoch
                ahead = None if last else pool.submit(self._step_batches, order, epoch, step + 1)
                yield ready.result()

    def _step_batches(self, order: np.ndarray, epoch: int, step: int) -> StepBatches:
        sizes = self.batch_size, self.accumulate
        dealt, first = (
            [rows for rows in micro_batch_rows(order, step, *sizes, process, self.processes) if len(rows)]
            for process in (self.process, 0)  # the first process has the most
        )
        idle = len(first) - len(dealt)
        absolute = epoch * self.steps_per_epoch + step
        return StepBatches([self.examples.batch(rows, epoch, absolute) for rows in [*dealt, *[order[:1]] * idle]], idle)

"""Loader: the optimizer steps of an epoch, collated one step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lorarec.contracts import Batch
from lorarec.contracts.batch import Examples
from lorarec.data.streams import epoch_order, step_batches, steps_per_epoch


@dataclass(frozen=True)
class Window:
    """The micro-batches of one optimizer step on one process."""

    batches: list[Batch]
    idle: bool = False
    """This process has no examples left in the step: its one batch is a stand-in and must weigh nothing."""

    @property
    def count(self) -> int:
        """Supervised targets of this process's share of the step."""
        return 0 if self.idle else sum(batch.count for batch in self.batches)

    @property
    def weight(self) -> float:
        """What they weigh in the mean of the step."""
        return 0.0 if self.idle else sum(batch.weight for batch in self.batches)


@dataclass(frozen=True)
class Loader:
    """What each step reads is a pure function of (seed, epoch, step): a resumed run skips without drawing anything."""

    examples: Examples
    seed: int
    batch_size: int
    accumulate: int
    process: int
    processes: int
    shuffle_block: int = 1
    """Neighbouring examples that stay together, see `train.shuffle_block`."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch; the last may be smaller, none is dropped."""
        return steps_per_epoch(len(self.examples), self.batch_size, self.accumulate, self.processes)

    def windows(self, epoch: int, start: int = 0) -> Iterator[Window]:
        """The steps of an epoch from step `start` on, each collated by a thread while the one before it trains."""
        order = epoch_order(len(self.examples), self.seed, epoch, self.shuffle_block)
        if self.shuffle_block > 1:
            order = np.argsort(self.examples.users, kind="stable")[order]
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[Window] | None = None
            for step in range(start, self.steps_per_epoch):
                ready = ahead or pool.submit(self._window, order, epoch, step)
                last = step + 1 == self.steps_per_epoch
                ahead = None if last else pool.submit(self._window, order, epoch, step + 1)
                yield ready.result()

    def _window(self, order: np.ndarray, epoch: int, step: int) -> Window:
        dealt = step_batches(order, step, self.batch_size, self.accumulate, self.process, self.processes)
        rows = [micro for micro in dealt if len(micro)]
        absolute = epoch * self.steps_per_epoch + step
        if not rows:
            return Window([self.examples.batch(order[:1], epoch, absolute)], idle=True)
        return Window([self.examples.batch(micro, epoch, absolute) for micro in rows])

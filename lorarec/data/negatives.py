"""NegativeSampler: items drawn as negatives of a positive target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from lorarec.data.streams import Purpose, generator
from lorarec.errors import PluginError

Sampling = Literal["uniform", "popularity", "mixed"]
POWER = 0.75
"""Popularity is (training events + 1) to this power, which draws rare items more often than they occur (Mikolov et
al., NeurIPS 2013)."""
UNIFORM_SHARE = 1 / 3
"""Share of uniform draws in a mixed sample."""


class StepSample(NamedTuple):
    """The negatives that a whole optimizer step shares, or the targets and negatives of a batch."""

    items: np.ndarray
    """[K] int64 catalog rows, ascending; with repeats where draws are by popularity."""
    expected: np.ndarray
    """[K] float64 the expected number of draws of the item, for each draw that the entry stands for: logQ correction
    subtracts its logarithm."""


@dataclass(frozen=True)
class NegativeSampler:
    """Draws catalog rows as a pure function of (seed, epoch, row): a resumed run draws the same ones."""

    seed: int
    catalog_size: int
    item_counts: np.ndarray | None = None
    """[N] training events of each catalog row; needed for sampling by popularity only."""

    def for_row(self, epoch: int, row: int, count: int, exclude: np.ndarray) -> np.ndarray:
        """[count] int64 rows drawn uniformly without replacement, none of them in `exclude` (the target, seen items).

        Fewer where the catalog has fewer other items.
        """
        draw = generator(self.seed, Purpose.ROW_NEGATIVES, epoch, row)
        forbidden = np.unique(exclude)
        free = self.catalog_size - len(forbidden)
        count = min(count, free)
        if count <= 0:
            return np.empty(0, np.int64)
        # The k-th of the allowed rows is row k + (the number of forbidden rows below it).
        chosen = np.sort(draw.choice(free, size=count, replace=False))
        below = forbidden - np.arange(len(forbidden))
        drawn = chosen + np.searchsorted(below, chosen, side="right")
        return draw.permutation(drawn).astype(np.int64)

    def for_step(self, epoch: int, step: int, count: int) -> np.ndarray:
        """[count] int64 distinct rows shared by a whole optimizer step, whatever its micro-batches or
        processes."""
        draw = generator(self.seed, Purpose.STEP_NEGATIVES, epoch, step)
        count = min(count, self.catalog_size)
        return np.sort(draw.choice(self.catalog_size, size=count, replace=False)).astype(np.int64)

    def sample_for_step(self, epoch: int, step: int, count: int, by: Sampling) -> StepSample:
        """`count` draws shared by a whole optimizer step, and the expected frequency of each.

        uniform: distinct items, at most the catalog. popularity: with replacement, by POWER. mixed: a share of
        UNIFORM_SHARE of the draws is uniform and the others by popularity, so that rare items are drawn as well.
        """
        if by == "uniform":
            items = self.for_step(epoch, step, count)
            return StepSample(items, np.full(len(items), len(items) / self.catalog_size))
        share, bounds = self._mixed if by == "mixed" else self._popular
        points = generator(self.seed, Purpose.POPULAR_NEGATIVES, epoch, step).random(count)
        # Rounding may leave the last bound a little below 1.
        items = np.sort(np.searchsorted(bounds, points * bounds[-1], side="right")).astype(np.int64)
        return StepSample(items, count * share[items])

    def beside_targets(self, epoch: int, step: int, count: int, targets: np.ndarray) -> StepSample:
        """Targets [F] of a batch and `count` uniform draws, each item once.

        Mixed negative sampling; Yang et al., WWW 2020. A target's expected number among the F - 1 other targets, whose
        negative it is, follows from its share of training events. Unlike the draws of `sample_for_step`, the sample
        depends on how a step is cut into batches.
        """
        drawn = self.for_step(epoch, step, count)
        items, times = np.unique(np.concatenate([targets, drawn]), return_counts=True)
        counts = self._counts
        expected = (len(targets) - 1) * counts[items] / counts.sum() + len(drawn) / self.catalog_size
        return StepSample(items, expected / times)

    @property
    def _counts(self) -> np.ndarray:
        if self.item_counts is None:
            raise PluginError("This NegativeSampler was built without item_counts: it can sample uniformly only.")
        return self.item_counts

    @cached_property
    def _popular(self) -> tuple[np.ndarray, np.ndarray]:
        """[N] float64 shares that sum to 1, and their cumulative sums: in float32, many of ten million items would have
        the same bound as the one before, and would never be drawn."""
        weights = (self._counts + 1.0) ** POWER
        shares = weights / weights.sum()
        return shares, np.cumsum(shares)

    @cached_property
    def _mixed(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of a mixed sample."""
        shares = (1 - UNIFORM_SHARE) * self._popular[0] + UNIFORM_SHARE / self.catalog_size
        return shares, np.cumsum(shares)

"""NegativeSampler: items to tell apart from what the user chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NegativeSampler:
    """Draws catalogue rows as a pure function of (seed, epoch, row): a resumed run draws what it would have
    drawn."""

    seed: int
    catalog_size: int

    def for_row(self, epoch: int, row: int, count: int, exclude: np.ndarray) -> np.ndarray:
        """[count] int64 rows drawn uniformly, none of them in `exclude` (the target, what the user has seen).

        Fewer are returned where the catalogue has not that many others; without replacement.
        """
        generator = np.random.default_rng((self.seed, 1, epoch, row))
        forbidden = np.unique(exclude)
        free = self.catalog_size - len(forbidden)
        count = min(count, free)
        if count <= 0:
            return np.empty(0, np.int64)
        # Place k among the allowed rows is row k + (how many forbidden rows lie below it).
        places = np.sort(generator.choice(free, size=count, replace=False))
        below = forbidden - np.arange(len(forbidden))
        drawn = places + np.searchsorted(below, places, side="right")
        return generator.permutation(drawn).astype(np.int64)

    def for_step(self, epoch: int, step: int, count: int) -> np.ndarray:
        """[count] int64 distinct rows shared by a whole optimizer step, whatever its micro-batches or
        processes."""
        generator = np.random.default_rng((self.seed, 2, epoch, step))
        count = min(count, self.catalog_size)
        return np.sort(generator.choice(self.catalog_size, size=count, replace=False)).astype(np.int64)

"""Asked: held-out events as baselines look at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions


class Asked(NamedTuple):
    """n questions about held-out events, and the data in which they are looked up."""

    events: np.ndarray
    """[n] int64 rows in the interactions."""
    items: np.ndarray
    """[n] int64 catalog rows that are asked about."""
    interactions: Interactions
    histories: Histories

    def blocks(self, size: int) -> Iterator[slice]:
        """All questions in order, `size` at a time."""
        for start in range(0, len(self.events), size):
            yield slice(start, min(start + size, len(self.events)))

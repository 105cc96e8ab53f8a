"""Statistics: what the training rows say, for heads and baselines to start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """What the training rows say, for heads to start from. Kept in the run folder, so that a head can be rebuilt."""

    item_counts: np.ndarray
    """[N] int64 training events of each catalogue row; 0 for an item never seen in training."""
    user_counts: np.ndarray
    """[U] int64 training events of each user."""
    label_mean: float
    label_min: float
    label_max: float
    """Mean and range of the training labels (stars, clicks); 0, 0, 1 where the task has none."""
    liked_above: float
    """Feedback above this number counts as liked."""

"""The global generators, seeded as a function of where training stands."""

from __future__ import annotations

import random

import numpy as np
import torch

from lorarec.data.streams import Purpose, derived_seed


def seed_all(seed: int) -> None:
    """Set Python's, numpy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed everything an optimizer step draws (dropout) as a function of where it stands.

    This is what makes a resumed run exact: no generator's state need survive a stop.
    """
    seed_all(derived_seed(seed, Purpose.TRAINING_STEP, step, process))

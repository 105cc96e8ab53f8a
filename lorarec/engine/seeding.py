"""One seed, from which each purpose derives its own."""

from __future__ import annotations

import random

import numpy as np
import torch

PURPOSES = ("weights", "step", "estimate")


def derived_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A seed for one purpose and moment; different purposes never share a stream."""
    key = (seed, PURPOSES.index(purpose), *numbers)
    return int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0])


def seed_all(seed: int) -> None:
    """Set Python's, numpy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed everything an optimizer step draws (dropout) as a function of where it stands.

    This is what makes a resumed run exact: no generator's state need survive a stop.
    """
    seed_all(derived_seed(seed, "step", step, process))

"""Random streams: one registry of all random draws, so that no two purposes ever share their numbers."""

from __future__ import annotations

from enum import Enum

import numpy as np

WORD = 2**32
"""A SeedSequence reads numbers in words of 32 bits. A larger one takes two, so that different keys could be equal."""


class Purpose(Enum):
    """The purpose of a draw: the numbers that identify it, and the count of numbers that identify the moment of a draw.

    SeedSequence pads keys with zeros, so that (seed, 4) and (seed, 4, 0) are one stream. Each purpose therefore begins
    with numbers of its own and is always followed by the same count of others. The results of every run depend on
    them: a new purpose takes a new number, and none is changed or reused.
    """

    BACKBONE_WEIGHTS = ((0, 0), 0)
    """Weights of a backbone that has no pretrained ones."""
    ADAPTER_WEIGHTS = ((0, 1), 0)
    HEAD_WEIGHTS = ((0, 2), 0)
    TRAINING_STEP = ((1,), 2)
    """All draws of an optimizer step, such as dropout: step, process."""
    SHARED_STEP = ((2,), 1)
    """Draws of a training step that are the same on all processes: step."""
    SPLIT = ((3,), 0)
    """Rows held out at random."""
    EPOCH_ORDER = ((4,), 1)
    """The order of the training examples: epoch."""
    POPULAR_NEGATIVES = ((5,), 2)
    """Items drawn by popularity, shared by a step: epoch, step."""
    ROW_NEGATIVES = ((6,), 2)
    """Negatives of one example: epoch, row."""
    STEP_NEGATIVES = ((7,), 2)
    """Items drawn uniformly, shared by a step: epoch, step."""
    TRAIN_ROWS = ((8,), 0)
    """The training rows of a few-shot run."""
    BOOTSTRAP = ((17,), 0)
    """Resamples of an interval."""
    TIED_RANKS = ((18,), 0)
    """Random orders of equal scores, for metrics whose expected value has no formula."""


def generator(seed: int, purpose: Purpose, *moment: int) -> np.random.Generator:
    """The stream of one purpose at one moment, from its start."""
    return np.random.default_rng(_key(seed, purpose, moment))


def derived_seed(seed: int, purpose: Purpose, *moment: int) -> int:
    """A number below 2**32 for generators that are not numpy's, such as torch's."""
    return int(np.random.SeedSequence(_key(seed, purpose, moment)).generate_state(1, np.uint32)[0])


def _key(seed: int, purpose: Purpose, moment: tuple[int, ...]) -> tuple[int, ...]:
    prefix, count = purpose.value
    if len(moment) != count:
        raise ValueError(f"{purpose.name} takes {count} numbers after the seed, not {len(moment)}.")
    key = (int(seed), *prefix, *(int(number) for number in moment))
    if not all(0 <= number < WORD for number in key):
        raise ValueError(f"{purpose.name}: {key} has a number that is not from 0 to 2**32 - 1.")
    return key

"""The order of training examples: pure functions of (seed, epoch), the same however many processes share the
work.

An optimizer step takes the next batch_size * accumulate * processes examples of the epoch's order, its
window; the last window of an epoch may be smaller. Nothing is dropped and nothing padded, so a small last
window leaves some processes with smaller or empty micro-batches.
"""

from __future__ import annotations

import numpy as np

from lorarec.data.streams import Purpose, generator


def epoch_order(rows: int, seed: int, epoch: int, block: int = 1) -> np.ndarray:
    """[rows] int64: every example once, shuffled for this epoch in blocks of `block` neighbours, cut anew each time."""
    draw = generator(seed, Purpose.EPOCH_ORDER, epoch)
    if block == 1:
        return draw.permutation(rows).astype(np.int64, copy=False)
    offset = int(draw.integers(block))
    starts = draw.permutation(np.arange(-offset, rows, block))
    places = (starts[:, None] + np.arange(block)).ravel()
    order: np.ndarray = places[(places >= 0) & (places < rows)]
    return order


def steps_per_epoch(rows: int, batch_size: int, accumulate: int, processes: int) -> int:
    """Optimizer steps an epoch takes."""
    return -(-rows // (batch_size * accumulate * processes))


def step_batches(
    order: np.ndarray, step: int, batch_size: int, accumulate: int, process: int, processes: int
) -> list[np.ndarray]:
    """`accumulate` micro-batches of one process in one step of an epoch, [at most batch_size] each, perhaps
    empty.

    Micro-batch m of all processes is one block of the window, which they divide in order of rank: two
    processes with batches of B cover micro-batch by micro-batch what one process covers with batches of 2B.
    """
    blocks = step * accumulate + np.arange(accumulate)
    starts = (blocks * processes + process) * batch_size
    return [order[start : start + batch_size] for start in starts]

"""The cost of training steps: their tokens without padding, and the operations of their matrix products.

Counted after training, on the same batches, so that counting is not timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from lorarec.contracts import Batch

if TYPE_CHECKING:
    from lorarec.engine.fit import Fit

PROBED = 4
"""Steps whose operations are counted; tokens are counted on all of them."""
MASK = "attention_mask"
PRODUCTS = ("mm", "addmm")
"""The products of linear layers; those of attention scores (bmm) are left out."""


@dataclass(frozen=True)
class StepCost:
    """The cost of one epoch."""

    tokens: int
    """Positions without padding."""
    positions: int
    """Positions of the batches as collated, padding included."""
    flops: float
    """2 * weights of linear layers * tokens for the forward pass, and again for each product that the backward pass
    needs (frozen weights have no gradient, and there is no backward pass below the lowest trainable weight)."""

    @property
    def padding(self) -> float:
        """Share of the positions that are padding."""
        return 1 - self.tokens / self.positions if self.positions else 0.0


def epoch_cost(fit: Fit, epoch: int, steps: int) -> StepCost:
    """Tokens of the epoch's first `steps` steps, and their operations, extrapolated from those of the first few."""
    tokens = positions = 0
    for window in islice(fit.loader.steps(epoch), steps):
        for batch in window.batches:
            counts = _tokens(batch)
            tokens, positions = tokens + counts[0], positions + counts[1]
    probed_flops, probed_positions = _probe(fit, epoch, min(PROBED, steps))
    # The counted operations include those on padding, which are subtracted in proportion.
    return StepCost(tokens, positions, probed_flops / max(probed_positions, 1) * tokens)


def _probe(fit: Fit, epoch: int, steps: int) -> tuple[float, int]:
    """Operations of the first steps' forward and backward passes, and their positions."""
    operations, positions = 0, 0
    fit.model.train()
    counter = FlopCounterMode(display=False)
    for window in islice(fit.loader.steps(epoch), steps):
        with counter:  # entering it starts from 0 again
            fit.optimizer_step.gradients(window, window.weight, 0)
        counts = counter.get_flop_counts()["Global"]
        operations += sum(count for product, count in counts.items() if str(product).split(".")[-1] in PRODUCTS)
        fit.optimizer_step.clear()
        positions += sum(_tokens(batch)[1] for batch in window.batches)
    return float(operations), positions


def _tokens(batch: Batch) -> tuple[int, int]:
    """Tokens and positions of one batch's texts. Ends the program if the features are not texts."""
    tokens = positions = 0
    for views in batch.views.values():
        for chunk in views.chunks:
            if MASK not in chunk:
                raise SystemExit(f"The features {sorted(chunk)} have no {MASK}: tokens cannot be counted.")
            tokens += int(torch.count_nonzero(chunk[MASK]))
            positions += chunk[MASK].numel()
    return tokens, positions

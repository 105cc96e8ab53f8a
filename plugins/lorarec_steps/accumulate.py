"""Accumulate: gradients of all micro-batches are summed, as if they were one batch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lorarec.contracts import StepContext, TrainingStep, hookimpl


class Accumulate(TrainingStep):
    """One forward and one backward pass per micro-batch; processes exchange gradients once, at the last."""

    name = "accumulate"
    summary = "gradients of micro-batches are summed, as if they were one batch"

    def gradients(self, step: StepContext) -> Tensor:
        """[] the sum of the micro-batches' losses."""
        total = torch.zeros((), device=step.batches[0].rows.device)
        for number, batch in enumerate(step.batches, start=1):
            with step.synchronized(number == len(step.batches)):
                loss = step.loss(batch)
                step.backward(loss)
            total += loss.detach()
        return total


@hookimpl
def lorarec_steps() -> Iterable[type[TrainingStep]]:
    """Accumulate."""
    return [Accumulate]

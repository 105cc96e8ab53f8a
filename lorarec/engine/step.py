"""The context of a training step: the micro-batches of one optimizer step, their losses, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from lorarec.contracts import Batch
from lorarec.data.streams import Purpose, derived_seed
from lorarec.engine.loader import StepBatches
from lorarec.engine.sharding import not_synchronized, with_equal_passes
from lorarec.model.encoded_catalog import is_sharded
from lorarec.model.rec_model import RecModel, call
from lorarec.model.trainable import trainable_weights


@dataclass
class CurrentStep:
    """The `StepContext` of one step."""

    accelerator: Accelerator
    model: nn.Module
    """The RecModel, wrapped for the devices (DDP, FSDP)."""
    optimizer: Optimizer
    step_batches: StepBatches
    weight: float
    seed: int
    step: int
    table: Tensor | None = None
    """Item vectors that cannot change, where no weight of the network trains."""
    mark: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Marks a part of the step for a profile."""

    @cached_property
    def batches(self) -> Sequence[Batch]:
        batches = self.step_batches.batches
        if is_sharded(self.accelerator):
            batches = with_equal_passes(batches, self.accelerator)
        return [batch.to(self.accelerator.device) for batch in batches]

    @cached_property
    def parameters(self) -> Sequence[nn.Parameter]:
        return trainable_weights(self.model)

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.seed, Purpose.SHARED_STEP, self.step))

    def loss(self, batch: Batch) -> Tensor:
        """[] ((the weighted sum of the targets' losses + the head's regularizer) + the adapter's penalty, by the
        batch's share) / the weight of the whole step."""
        with self.mark("forward"):
            output = call(self.model, RecModel.losses, batch, self.table)
        divisor = self.weight or 1.0
        # A process without targets computes along with weight 0; the targets of a step may also have weight 0.
        placeholders = self.batches[len(self.step_batches.real) :]
        idle = not self.step_batches.real or any(batch is placeholder for placeholder in placeholders)
        here = 0.0 if idle else 1.0
        mean = (batch.total(output.losses) + output.regularizer) / divisor * here
        # On the device: `Batch.weight` would have to wait for it.
        weight = batch.count if batch.weights is None else batch.weights.sum()
        return mean + output.penalty * (weight / divisor * here)

    def backward(self, loss: Tensor) -> None:
        with self.mark("backward"):
            # DDP averages over processes; the targets of all of them are in `weight` already.
            self.accelerator.backward(loss * self.accelerator.num_processes)

    @contextmanager
    def synchronized(self, on: bool) -> Iterator[None]:
        with nullcontext() if on else not_synchronized(self.model, self.accelerator):
            yield

    def clear(self) -> None:
        self.optimizer.zero_grad()

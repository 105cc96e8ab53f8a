"""One optimizer step: gradients from its micro-batches, then the update."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lorarec.engine.loader import Window
from lorarec.engine.seeding import seed_step
from lorarec.model.rec_model import RecModel, call


@dataclass
class OptimizerStep:
    """What training does with each step's batches, and `lorarec check` with a few: `gradients`, `update`, `clear`."""

    accelerator: Accelerator
    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    seed: int
    max_grad_norm: float | None
    table: Tensor | None = None
    """Item vectors that cannot change, where no weight of the network trains."""
    part: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Marks a part of the step for a profile: `torch.profiler.record_function` where one is taken."""

    def gradients(self, window: Window, weight: float, step: int) -> Tensor:
        """[] this process's share of the step's loss, whose gradients are then there.

        The loss is (the weighted sum of the targets' losses + the head's regularizer) / `weight`, which is what the
        targets of all processes weigh together, + the adapter's penalty.
        """
        accelerator, total = self.accelerator, torch.zeros((), device=self.accelerator.device)
        seed_step(self.seed, step, accelerator.process_index)
        for place, batch in enumerate(window.batches):
            share = batch.weight  # before it lies on the device, which a number would have to be waited for from
            batch = batch.to(accelerator.device)
            last = place + 1 == len(window.batches)
            with nullcontext() if last else accelerator.no_sync(self.model):
                with self.part("forward"):
                    output = call(self.model, RecModel.losses, batch, self.table)
                here = 0.0 if window.idle else 1.0  # a process without targets computes along, and weighs nothing
                mean = (batch.total(output.losses) + output.regularizer) / (weight or 1.0) * here
                penalty = output.penalty * (share / (weight or 1.0) * here)
                with self.part("backward"):
                    # DDP averages over processes; the targets of all of them are in `weight` already.
                    accelerator.backward((mean + penalty) * accelerator.num_processes)
            total += mean.detach()
        return total

    def update(self) -> bool:
        """Clip the gradients and move the weights; whether they moved: fp16 skips gradients that are not finite."""
        with self.part("optimizer"):
            if self.max_grad_norm is not None:
                trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
                self.accelerator.clip_grad_norm_(trainable, self.max_grad_norm)
            self.optimizer.step()
            moved = not getattr(self.optimizer, "step_was_skipped", False)
            if moved:
                self.schedule.step()
        return moved

    def clear(self) -> None:
        """Forget the gradients."""
        with self.part("optimizer"):
            self.optimizer.zero_grad()

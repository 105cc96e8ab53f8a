"""One optimizer step: gradients by the recipe's training step, then the update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lorarec.contracts import Batch, TrainingStep
from lorarec.data.streams import Purpose, derived_seed
from lorarec.engine.loader import Window
from lorarec.errors import PluginError, TrainingError
from lorarec.model.rec_model import RecModel, call


@dataclass
class OptimizerStep:
    """What training does with each step's batches, and `lorarec check` with a few: `gradients`, `update`, `clear`."""

    accelerator: Accelerator
    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    plugin: TrainingStep
    """How the gradients come about."""
    seed: int
    max_grad_norm: float | None
    table: Tensor | None = None
    """Item vectors that cannot change, where no weight of the network trains."""
    part: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Marks a part of the step for a profile: `torch.profiler.record_function` where one is taken."""

    def gradients(self, window: Window, weight: float, step: int) -> Tensor:
        """[] this process's share of the loss of a step whose targets weigh `weight` together, over all processes.

        Raises PluginError unless the training step gives back one number without gradient.
        """
        # What a step draws (dropout) follows from where it stands: a resumed run is exact without a generator's state.
        set_seed(derived_seed(self.seed, Purpose.TRAINING_STEP, step, self.accelerator.process_index))
        loss: Any = self.plugin.gradients(_Context(self, window, weight, step))
        if not isinstance(loss, Tensor) or loss.shape != () or loss.requires_grad:
            raise PluginError(
                f"Training step '{self.plugin.name}' gives back {loss!r}: it must be the step's loss as a tensor of "
                "one number, [], without gradient (`loss.detach()`)."
            )
        return loss

    def refuse_missing_gradients(self) -> None:
        """Raise TrainingError, naming some, if weights that should train have no gradient; PluginError if none has."""
        trainable = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        dead = [name for name, weight in trainable if weight.grad is None]
        if dead and len(dead) == len(trainable):
            raise PluginError(
                f"Training step '{self.plugin.name}' left no gradient in any weight: its `gradients` must call "
                "`step.backward` with a loss of `step.loss`."
            )
        if dead:
            raise TrainingError(
                f"{len(dead)} of {len(trainable)} weights that should train get no gradient, for instance '{dead[0]}'. "
                "The adapter, the backbone and the head do not fit together; try another adapter or head."
            )

    def update(self) -> bool:
        """Clip the gradients and move the weights; whether they moved: fp16 skips gradients that are not finite."""
        with self.part("optimizer"):
            if self.max_grad_norm is not None:
                self.accelerator.clip_grad_norm_(self.trainable, self.max_grad_norm)
            self.optimizer.step()
            moved = not getattr(self.optimizer, "step_was_skipped", False)
            if moved:
                self.schedule.step()
        return moved

    def clear(self) -> None:
        """Forget the gradients."""
        with self.part("optimizer"):
            self.optimizer.zero_grad()

    @property
    def trainable(self) -> list[nn.Parameter]:
        """What the optimizer moves."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


class _Context:
    """The `StepContext` of one step."""

    def __init__(self, owner: OptimizerStep, window: Window, weight: float, step: int) -> None:
        self._owner = owner
        self._step = step
        self.weight = weight
        # A process without targets computes along, and weighs nothing; nor does a step whose targets weigh nothing.
        self._here = 0.0 if window.idle else 1.0
        self.batches: Sequence[Batch] = [batch.to(owner.accelerator.device) for batch in window.batches]

    @cached_property
    def parameters(self) -> Sequence[nn.Parameter]:
        return self._owner.trainable

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self._owner.seed, Purpose.SHARED_STEP, self._step))

    def loss(self, batch: Batch) -> Tensor:
        """[] ((the weighted sum of the targets' losses + the head's regularizer) + the adapter's penalty, by the
        batch's share) / what the whole step weighs."""
        with self._owner.part("forward"):
            output = call(self._owner.model, RecModel.losses, batch, self._owner.table)
        divisor = self.weight or 1.0
        mean = (batch.total(output.losses) + output.regularizer) / divisor * self._here
        # On its device: `Batch.weight` would have to wait for it.
        weight = batch.count if batch.weights is None else batch.weights.sum()
        return mean + output.penalty * (weight / divisor * self._here)

    def backward(self, loss: Tensor) -> None:
        accelerator = self._owner.accelerator
        with self._owner.part("backward"):
            # DDP averages over processes; the targets of all of them are in `weight` already.
            accelerator.backward(loss * accelerator.num_processes)

    @contextmanager
    def synchronized(self, on: bool) -> Iterator[None]:
        owner = self._owner
        with nullcontext() if on else owner.accelerator.no_sync(owner.model):
            yield

    def clear(self) -> None:
        self._owner.optimizer.zero_grad()

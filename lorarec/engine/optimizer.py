"""One optimizer step: the gradients of the recipe's training step, clipped; then AdamW and its schedule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from lorarec.config.recipe import TrainSection
from lorarec.contracts import Adapter, TrainingStep
from lorarec.data.streams import Purpose, derived_seed
from lorarec.engine.loader import StepBatches
from lorarec.engine.sharding import average_whole_gradients
from lorarec.engine.step import CurrentStep
from lorarec.errors import PluginError, TrainingError
from lorarec.model.encoded_catalog import is_sharded
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import trainable_weights

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def build_optimizer(model: RecModel, train: TrainSection) -> Optimizer:
    """AdamW over the trainable weights: rates scaled by the adapter, the head's own rate, decay of matrices only."""
    groups: dict[tuple[float, float, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("head."):
            rate = train.head_learning_rate or train.learning_rate
        else:
            rate = train.learning_rate * _scale(model.adapter, name.removeprefix("network."))
        # Column vectors ([D, 1]: those of IA3, AdaLoRA's singular values) are not matrices either.
        decay = train.weight_decay if parameter.squeeze().ndim > 1 else 0.0
        # AdamW updates the weights of a group together, which sharded and whole ones cannot be.
        groups[rate, decay, isinstance(parameter, DTensor)].append(parameter)
    return AdamW(
        [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay, _), parameters in groups.items()]
    )


def _scale(adapter: Adapter, parameter: str) -> float:
    """The adapter's factor on the learning rate. Raises PluginError unless it is a number from 0 up."""
    scale: Any = adapter.learning_rate_scale(parameter)
    if not (isinstance(scale, Real) and 0 <= float(scale) < math.inf):
        raise PluginError(
            f"adapter '{adapter.name}': `learning_rate_scale` gives {str(scale)[:50]} for '{parameter}': it must be a "
            "finite number, at least 0."
        )
    return float(scale)


def build_schedule(optimizer: Optimizer, train: TrainSection, total_steps: int) -> LRScheduler:
    """Warm-up over a share of the steps, then linear or cosine decay to 0, or a constant rate."""
    kind: Any = SCHEDULES[train.schedule]
    warmup_steps = round(train.warmup * total_steps)
    return cast(LRScheduler, get_scheduler(kind, optimizer, warmup_steps, total_steps))


@dataclass
class OptimizerStep:
    """One step as training and `lorarec check` take it: `gradients`, `update`, `clear`."""

    accelerator: Accelerator
    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    plugin: TrainingStep
    """Computes the gradients."""
    seed: int
    max_grad_norm: float | None
    table: Tensor | None = None
    """Item vectors that cannot change, where no weight of the network trains."""
    mark: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Marks a part of the step for a profile: `torch.profiler.record_function` if the run is profiled."""

    def gradients(self, step_batches: StepBatches, weight: float, step: int) -> Tensor:
        """[] this process's share of the loss of a step whose targets have the total `weight` over all processes.

        Raises PluginError unless the training step returns one number without gradient.
        """
        # Random draws (dropout) follow from seed and step: a resumed run is exact without a generator's state.
        set_seed(derived_seed(self.seed, Purpose.TRAINING_STEP, step, self.accelerator.process_index))
        current = CurrentStep(
            self.accelerator, self.model, self.optimizer, step_batches, weight, self.seed, step, self.table, self.mark
        )
        loss: Any = self.plugin.gradients(current)
        if not isinstance(loss, Tensor) or loss.shape != () or loss.requires_grad:
            raise PluginError(
                f"Training step '{self.plugin.name}' returned {loss!r}: it must be the step's loss as a tensor of "
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
        """Clip the gradients and update the weights; false where fp16 skips the update, as gradients are not finite."""
        with self.mark("optimizer"):
            if is_sharded(self.accelerator):
                average_whole_gradients(self.model, self.accelerator)
            if self.max_grad_norm is not None:
                self.accelerator.clip_grad_norm_(trainable_weights(self.model), self.max_grad_norm)
            self.optimizer.step()
            moved = not getattr(self.optimizer, "step_was_skipped", False)
            if moved:
                self.schedule.step()
        return moved

    def clear(self) -> None:
        """Reset the gradients."""
        with self.mark("optimizer"):
            self.optimizer.zero_grad()

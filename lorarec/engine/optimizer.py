"""AdamW with one group a learning rate and decay, and its schedule."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import torch
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from lorarec.config.recipe import TrainSection
from lorarec.model.rec_model import RecModel

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def build_optimizer(model: RecModel, train: TrainSection) -> Optimizer:
    """AdamW over what trains: the adapter's factors on the rate, the head's own rate, decay on matrices only."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("head."):
            rate = train.head_learning_rate or train.learning_rate
        else:
            rate = train.learning_rate * model.adapter.learning_rate_scale(name.removeprefix("network."))
        # Columns of factors ([D, 1]: IA3's, AdaLoRA's singular values) are no matrices either.
        decay = train.weight_decay if parameter.squeeze().ndim > 1 else 0.0
        groups[rate, decay].append(parameter)
    return AdamW(
        [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]
    )


def build_schedule(optimizer: Optimizer, train: TrainSection, total_steps: int) -> LRScheduler:
    """Warm-up over a share of the steps, then linear or cosine decay to nothing, or none."""
    kind: Any = SCHEDULES[train.schedule]
    warmup_steps = round(train.warmup * total_steps)
    return cast(LRScheduler, get_scheduler(kind, optimizer, warmup_steps, total_steps))

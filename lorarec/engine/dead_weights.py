"""Weights that are marked trainable, get a gradient, and get nothing but zeros in it."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer

from lorarec.contracts import Callback, TrainState
from lorarec.errors import TrainingError
from lorarec.model.rec_model import RecModel

STEPS = 10
"""Optimizer steps after which a weight should have had a gradient. Zeros at first are right: LoRA's A waits until B has
left zero, B until a head that starts at zero has, and the first step of a warm-up moves nothing."""

_log = logging.getLogger(__name__)


class DeadWeights(Callback):
    """Looks once, after STEPS steps: an adapter none of whose weights has had a gradient is refused, single ones are
    warned of. Shorter runs are not judged."""

    name = "dead_weights"
    summary = "refuse an adapter that trains nothing"

    def __init__(
        self,
        model: RecModel,
        optimizer: Optimizer,
        accelerator: Accelerator,
        warnings: MutableMapping[str, str],
    ) -> None:
        """`model` and `optimizer` are those that train; `warnings` is filled with what was warned of, by kind."""
        super().__init__(self.Config())
        self._model, self._optimizer, self._accelerator = model, optimizer, accelerator
        self._warnings = warnings

    def on_optimizer_step(self, state: TrainState) -> None:
        """Raises TrainingError, naming a weight, where the adapter has trained nothing so far."""
        if state.step != STEPS:
            return
        alive = self._alive()
        dead = [name for name, lives in alive.items() if not lives]
        if not dead:
            return
        if len(dead) == len(alive):
            raise TrainingError(
                f"None of the adapter's {len(dead)} weights has had a gradient other than 0 in the first {STEPS} "
                f"steps, for instance '{dead[0]}': nothing that the model answers depends on the adapter. Choose "
                "another adapter, or other targets or layers for it, or a head that reads the backbone's vectors."
            )
        message = (
            f"{len(dead)} of the adapter's {len(alive)} weights have had no gradient other than 0 in the first {STEPS} "
            f"steps, for instance '{dead[0]}': nothing depends on them. Leave out the targets or layers they belong to"
        )
        self._warnings["weights without gradient"] = message
        if self._accelerator.is_main_process:
            _log.warning("Weights without gradient: %s.", message)

    def _alive(self) -> dict[str, bool]:
        """{name: whether AdamW's running mean of its gradient has left zero}, of the network's trainable weights.

        The mean is kept anyway: reading it once costs no step a wait for the device.
        """
        names, flags = [], []
        for name, weight in self._model.named_parameters():
            mean = self._optimizer.state.get(weight, {}).get("exp_avg")
            # None: another optimizer's state, or no step was taken at all (fp16 skips those that overflow).
            if name.startswith("network.") and weight.requires_grad and mean is not None:
                names.append(name.removeprefix("network."))
                flags.append(_local(mean).any())
        if not flags:
            return {}
        lives = self._accelerator.reduce(torch.stack(flags).long(), reduction="sum")  # a process may hold a shard
        return dict(zip(names, (lives > 0).tolist(), strict=True))


def _local(tensor: Tensor) -> Tensor:
    """This process's shard of a sharded tensor."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local

"""Checkpoints: everything that a stopped run needs to resume exactly, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from lorarec.contracts import TrainState
from lorarec.disk import atomic_write, remove
from lorarec.engine.callbacks import CallbackList
from lorarec.engine.checkpoint_files import WEIGHTS, Kept, read_checkpoint, write_checkpoint
from lorarec.engine.optimizer import OptimizerStep
from lorarec.engine.sharding import reshard
from lorarec.errors import CheckpointError
from lorarec.model.trainable import extract, put_back

PREFIX = "step-"


class Checkpoints:
    """A folder of checkpoints `step-00000120/`: the latest few and the best one are kept.

    Each is written under a temporary name and renamed, so that it is complete or absent if the process is killed, and
    has a checksum of every file. It holds the trainable weights, the states of optimizer, schedule and callbacks, and
    the progress of training. Random draws of a step follow from the seed and the step, so no generator's state is kept.
    """

    def __init__(
        self,
        folder: Path,
        keep: int,
        names: list[str],
        step: OptimizerStep,
        callbacks: CallbackList,
        accelerator: Accelerator,
    ) -> None:
        self.folder = folder
        self.keep = keep
        self._names = names
        self._model = step.model
        self._optimizer = step.optimizer
        self._schedule = step.schedule
        self._callbacks = callbacks
        self._accelerator = accelerator

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.folder / f"{PREFIX}{step:08d}"

    def steps(self) -> list[int]:
        """Steps of the existing checkpoints, ascending."""
        if not self.folder.is_dir():
            return []
        numbers = (path.name.removeprefix(PREFIX) for path in self.folder.glob(f"{PREFIX}*"))
        return sorted(int(number) for number in numbers if number.isdigit())

    def save(self, state: TrainState) -> Path:
        """Write a checkpoint of the current state; delete the oldest ones beyond `keep`, never the best."""
        reshard(self._model)
        weights = extract(self._accelerator.unwrap_model(self._model), self._names)
        optimizer = self._optimizer_state()
        target = self.path(state.step)
        if self._accelerator.is_main_process:
            states = {
                "optimizer": optimizer,
                "schedule": self._schedule.state_dict(),
                "callbacks": self._callbacks.state_dict(),
                "scaler": self._scaler_state(),
            }
            if not target.exists():  # a run that is stopped where it was resumed has the same state
                self.folder.mkdir(exist_ok=True)
                with atomic_write(target) as partial:
                    write_checkpoint(partial, Kept(weights, states, state))
            self._drop_old(state)
        self._accelerator.wait_for_everyone()
        return target

    def load(self, step: int) -> TrainState:
        """Restore everything as it was after this step. Raises CheckpointError if a file is missing, altered or of
        another form."""
        kept = self._load_weights(step)
        states = kept.states
        try:
            if states["optimizer"]:
                options = StateDictOptions(full_state_dict=True)
                set_optimizer_state_dict(self._model, self._optimizer, states["optimizer"], options=options)
                self._check_shapes()
            self._schedule.load_state_dict(states["schedule"])
            self._callbacks.load_state_dict(states["callbacks"])
            if states["scaler"] and self._accelerator.scaler is not None:
                self._accelerator.scaler.load_state_dict(states["scaler"])
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.path(step)}: its states are not those of this optimizer, schedule and callbacks. Remove the "
                "folder to resume from an earlier checkpoint, or remove all of them to start again."
            ) from error
        return kept.state

    def _check_shapes(self) -> None:
        """Raises ValueError if AdamW's means of a weight have another shape than the weight."""
        for weight, means in self._optimizer.state.items():
            for name, mean in means.items():
                if mean.shape != (() if name == "step" else weight.shape):
                    raise ValueError(f"{name} has shape {tuple(mean.shape)}")

    def load_weights(self, step: int) -> None:
        """Restore only what the model computes with: trainable weights and callback states (AdaLoRA's ranks)."""
        self._callbacks.load_state_dict(self._load_weights(step).states["callbacks"])

    def _load_weights(self, step: int) -> Kept:
        folder = self.path(step)
        kept = read_checkpoint(folder)
        reshard(self._model)
        put_back(self._accelerator.unwrap_model(self._model), kept.weights, self._names, str(folder / WEIGHTS))
        return kept

    def _optimizer_state(self) -> dict[str, Any]:
        if not self._optimizer.state:
            return {}  # before the first step; torch would take a step with zero gradients, which Adam counts
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return dict(get_optimizer_state_dict(self._model, self._optimizer, options=options))

    def _scaler_state(self) -> dict[str, Any] | None:
        scaler = self._accelerator.scaler
        return None if scaler is None else dict(scaler.state_dict())

    def _drop_old(self, state: TrainState) -> None:
        kept = set(self.steps()[-self.keep :]) | {state.best_step}
        for step in self.steps():
            if step not in kept:
                remove(self.path(step))

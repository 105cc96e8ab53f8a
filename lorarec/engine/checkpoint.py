"""Checkpoints: everything that a stopped run needs to resume exactly, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from lorarec.contracts import TrainState
from lorarec.disk import atomic_write, remove
from lorarec.engine.callbacks import CallbackList
from lorarec.engine.optimizer import OptimizerStep
from lorarec.engine.sharding import reshard
from lorarec.errors import CheckpointError
from lorarec.model.trainable import extract, put_back

PREFIX = "step-"
WEIGHTS, OPTIMIZER, STATE, MANIFEST = "weights.safetensors", "optimizer.pt", "state.json", "manifest.json"


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
            kept = {
                "optimizer": optimizer,
                "schedule": self._schedule.state_dict(),
                "callbacks": self._callbacks.state_dict(),
                "scaler": self._scaler_state(),
            }
            if not target.exists():  # a run that is stopped where it was resumed has the same state
                self.folder.mkdir(exist_ok=True)
                with atomic_write(target) as partial:
                    _write(partial, weights, kept, state)
            self._drop_old(state)
        self._accelerator.wait_for_everyone()
        return target

    def load(self, step: int) -> TrainState:
        """Restore everything as it was after this step. Raises CheckpointError if a file is missing or altered."""
        folder = self.path(step)
        kept = read_checked(folder)
        reshard(self._model)
        put_back(self._accelerator.unwrap_model(self._model), kept["weights"], self._names, str(folder / WEIGHTS))
        if kept["optimizer"]:
            set_optimizer_state_dict(
                self._model, self._optimizer, kept["optimizer"], options=StateDictOptions(full_state_dict=True)
            )
        self._schedule.load_state_dict(kept["schedule"])
        self._callbacks.load_state_dict(kept["callbacks"])
        if kept["scaler"] and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(kept["scaler"])
        return TrainState(**kept["state"])

    def load_weights(self, step: int) -> None:
        """Restore only what the model computes with: trainable weights and callback states (AdaLoRA's ranks)."""
        folder = self.path(step)
        kept = read_checked(folder)
        reshard(self._model)
        put_back(self._accelerator.unwrap_model(self._model), kept["weights"], self._names, str(folder / WEIGHTS))
        self._callbacks.load_state_dict(kept["callbacks"])

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


def _write(folder: Path, weights: dict[str, torch.Tensor], kept: dict[str, Any], state: TrainState) -> None:
    folder.mkdir()
    save_file(weights, folder / WEIGHTS)
    # Given a path, torch would not report that the disk is full.
    with (folder / OPTIMIZER).open("wb") as file:
        torch.save(kept, file)
    (folder / STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    checksums = {name: _checksum(folder / name) for name in (WEIGHTS, OPTIMIZER, STATE)}
    (folder / MANIFEST).write_text(json.dumps(checksums, indent=1), encoding="utf-8")


def read_checked(folder: Path) -> dict[str, Any]:
    """The contents of a checkpoint, verified by its checksums. Raises CheckpointError naming the file."""
    file = folder / MANIFEST
    try:
        checksums = json.loads(file.read_text(encoding="utf-8"))
        for name in (WEIGHTS, OPTIMIZER, STATE):
            file = folder / name
            if _checksum(file) != checksums[name]:
                raise ValueError("its checksum differs")
    except (OSError, ValueError, KeyError, TypeError) as error:
        gone = isinstance(error, FileNotFoundError)
        what = "missing" if gone else "not as it was written (truncated or changed)"
        raise CheckpointError(
            f"{file}: {what}. Remove the folder {folder} to resume from an earlier checkpoint, or remove all "
            "of them to start again."
        ) from error
    rest = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return {"weights": load_file(folder / WEIGHTS), "state": state, **rest}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The files of a checkpoint: tensors as safetensors, all else as JSON; no pickle, so a stranger's may be read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor

from lorarec.contracts import TrainState, load_weights
from lorarec.errors import ArtifactError, CheckpointError
from lorarec.untrusted import plain_files, read_json

WEIGHTS, OPTIMIZER, STATE, MANIFEST = "weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
STATES = ("optimizer", "schedule", "callbacks", "scaler")


class Kept(NamedTuple):
    """The contents of a checkpoint."""

    weights: dict[str, Tensor]
    """Trainable weights, by name."""
    states: dict[str, Any]
    """By STATES: dictionaries, lists, tensors, numbers, texts and None, in each other."""
    state: TrainState


def write_checkpoint(folder: Path, kept: Kept) -> None:
    """Write the files into a new folder. Raises CheckpointError for a state that cannot be kept without a pickle."""
    tensors: dict[str, Tensor] = {}
    states = {name: packed(kept.states[name], tensors, name) for name in STATES}
    folder.mkdir()
    save_file(kept.weights, folder / WEIGHTS)
    save_file(tensors, folder / OPTIMIZER)
    content = {"state": asdict(kept.state), "states": states}
    (folder / STATE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    checksums = {name: _checksum(folder / name) for name in (WEIGHTS, OPTIMIZER, STATE)}
    (folder / MANIFEST).write_text(json.dumps(checksums, indent=1), encoding="utf-8")


def read_checkpoint(folder: Path) -> Kept:
    """The contents of a checkpoint, verified by its checksums. Raises CheckpointError naming the file."""
    file = folder
    try:
        plain_files(folder, lambda _: True)
        file = folder / MANIFEST
        checksums = read_json(file)
        for name in (WEIGHTS, OPTIMIZER, STATE):
            file = folder / name
            if _checksum(file) != checksums[name]:
                raise ValueError("its checksum differs")
        content, tensors = read_json(file), load_weights(folder / OPTIMIZER)
        state = TypeAdapter(TrainState).validate_python(content["state"])
        if min(state.step, state.epoch, state.step_in_epoch) < 0:
            raise ValueError("it counts fewer than 0 steps or epochs")
        states = {name: _unpacked(content["states"][name], tensors) for name in STATES}
        return Kept(load_weights(folder / WEIGHTS), states, state)
    except ArtifactError as error:  # names the file
        raise CheckpointError(f"{error} {_advice(folder)}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        gone = isinstance(error, FileNotFoundError)
        what = "missing" if gone else "not as it was written (truncated or changed)"
        raise CheckpointError(f"{file}: {what}. {_advice(folder)}") from error


def _advice(folder: Path) -> str:
    return f"Remove the folder {folder} to resume from an earlier checkpoint, or remove all of them to start again."


def packed(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """A value for JSON; its tensors are put into `tensors`, and named in it.

    Raises CheckpointError for other objects in the state of `where`.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"entries": [[packed(key, {}, where), packed(each, tensors, where)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [packed(each, tensors, where) for each in value]}
    if value is None or type(value) in (bool, int, float, str):  # exactly: a subclass would be read as another type
        return value
    raise CheckpointError(
        f"A checkpoint cannot keep the {type(value).__name__} in the state of '{where}': states hold tensors, numbers, "
        "texts, lists and dictionaries."
    )


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "entries":
        return {_unpacked(key, tensors): _unpacked(each, tensors) for key, each in inner}
    values = [_unpacked(each, tensors) for each in inner]
    return tuple(values) if kind == "tuple" else values


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

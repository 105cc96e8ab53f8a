"""Resume: whether there is a stopped run to continue, and checks that its recipe and data are unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from lorarec.artifact import layout
from lorarec.artifact.writer import check_new_folder, environment, remove_checkpoints
from lorarec.config.yaml_text import read_yaml
from lorarec.disk import remove_left
from lorarec.errors import ArtifactError, CheckpointError, RecipeError
from lorarec.model.encoded_catalog import is_sharded
from lorarec.pipeline.assemble import RunData
from lorarec.untrusted import MOST_RECIPE, UntrustedError, read_json, read_text

FREE = ("train.profile",)
"""Settings that do not affect what is trained: they may change when a run is resumed."""


def has_stopped_run(output: Path, resume: bool) -> bool:
    """Whether `OUTPUT.unfinished` holds a stopped run to resume; False if the run starts from the beginning.

    Raises ArtifactError if the run folder exists, if `OUTPUT.unfinished` exists and `resume` is False, or if it holds
    no run. Called with the lock of `output`.
    """
    if resume and (output / layout.METRICS).exists():
        remove_checkpoints(output)  # of a process that was killed while it did this
        raise ArtifactError(f"{output} exists already: that run is finished, there is nothing to resume.")
    check_new_folder(output)
    folder = layout.unfinished(output)
    remove_left(output.parent, re.escape(folder.name))
    for inner in (folder, folder / layout.CHECKPOINTS):
        if inner.is_dir():
            remove_left(inner)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder. Remove it, or name another folder with --output.")
    if folder.exists() and not resume:
        raise ArtifactError(f"{folder} holds a stopped run. Add --resume to continue it, or remove that folder.")
    if names and layout.RECIPE not in names:
        raise ArtifactError(
            f"{folder} does not hold a stopped run ({layout.RECIPE} is missing), but other files. "
            "Move them, or name another folder with --output."
        )
    if names:
        layout.check_plain(folder)
    if layout.CHECKPOINTS in names and not (folder / layout.CHECKPOINTS).is_dir():
        raise ArtifactError(f"{folder / layout.CHECKPOINTS} is not a folder. Restore it, or remove {folder}.")
    if others := sorted(name for name in names if layout.is_calibration(name)):
        raise ArtifactError(f"{folder / others[0]}: a stopped run has no calibration. Remove the file.")
    return not names <= {layout.RECIPE}  # a former version wrote the recipe first


def run_identity(run_data: RunData, accelerator: Accelerator) -> dict[str, Any]:
    """Providers, settings and fingerprints of a run, for environment.json."""
    return environment(
        {part: str(provider) for part, provider in run_data.resolved.providers.items()},
        processes=accelerator.num_processes,
        precision=run_data.resolved.recipe.train.precision,
        seed=run_data.resolved.recipe.seed,
        attention=run_data.architecture.attention,
        split_fingerprint=run_data.data.report.fingerprint,
        **({"sharded": True} if is_sharded(accelerator) else {}),
    )


def check_unchanged(folder: Path, settings: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    """The environment.json of the stopped run in `folder`. Raises CheckpointError listing settings, data and processes
    that have changed since it was started."""
    before, recorded = _read_mapping(folder / layout.RECIPE), _read_mapping(folder / layout.ENVIRONMENT)
    changes = list(differences(before, json.loads(json.dumps(settings)), ""))
    for key in ("processes", "sharded", "split_fingerprint", "attention"):
        if recorded.get(key) != identity.get(key):
            changes.append(f"{key}: was {recorded.get(key)}, is {identity.get(key)}")
    if changes:
        raise CheckpointError(
            f"{folder} was started with other settings or data, and continuing would mix two runs:\n  "
            + "\n  ".join(changes)
            + "\nUndo the changes, or train into another folder without --resume."
        )
    return recorded


def check_same_recipe(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises CheckpointError listing the differences from the recipe of the finished run in `folder`."""
    changes = list(differences(_read_mapping(folder / layout.RECIPE), json.loads(json.dumps(settings)), ""))
    if changes:
        raise CheckpointError(
            f"{folder} was trained with another recipe, and including it would mix two experiments:\n  "
            + "\n  ".join(changes)
            + "\nUndo the changes, or name another --output."
        )


def check_same_backbone(folder: Path, recorded: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raises CheckpointError if the backbone has other weights than when the run in `folder` was started."""
    before = recorded.get("backbone_fingerprint")
    if before is not None and before != identity["backbone_fingerprint"]:
        raise CheckpointError(
            f"{folder} was started with other weights of the backbone: its checkpoint has changed since. Restore the "
            "weights, or train into another folder without --resume."
        )


def check_same_start(recorded: Mapping[str, str] | None, start: Mapping[str, str] | None) -> None:
    """Raises CheckpointError if a run that starts again would start from other adapter weights than before."""
    before = recorded.get("adapter_sha256") if isinstance(recorded, Mapping) else recorded
    if before is not None and start is not None and before != start["adapter_sha256"]:
        raise CheckpointError(
            f"train.warm_start: the adapter in {start['run']} has changed since this run was started. Restore it, or "
            "train into another folder without --resume."
        )


def _read_mapping(path: Path) -> dict[str, Any]:
    """The content of a recipe.yaml or environment.json of a run. Raises CheckpointError if it cannot be read."""
    try:
        content = read_json(path) if path.suffix == ".json" else read_yaml(read_text(path, MOST_RECIPE), str(path))[0]
    except (OSError, UntrustedError, RecipeError) as error:
        raise _broken(path) from error
    if not isinstance(content, dict):
        raise _broken(path)
    return content


def _broken(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: missing or not as it was written (truncated or changed), so the run cannot be resumed. Remove "
        f"{path.parent} to start again."
    )


def differences(before: Any, now: Any, path: str) -> Iterator[str]:
    """Differences between two settings, one line each; `path` is their path in the recipe."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            if inner in FREE:
                continue
            if key not in before or key not in now:
                yield f"{inner}: was {before.get(key, 'not set')}, is {now.get(key, 'not set')}"
            else:
                yield from differences(before[key], now[key], inner)
    elif before != now:
        yield f"{path}: was {before}, is {now}"

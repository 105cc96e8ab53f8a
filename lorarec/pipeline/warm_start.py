"""Warm start: training that begins with the adapter of a finished run instead of an untrained one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lorarec.artifact import layout
from lorarec.artifact.reader import read_run
from lorarec.config.yaml_text import read_yaml
from lorarec.errors import CheckpointError, IncompatibleError
from lorarec.model.rec_model import RecModel
from lorarec.pipeline.resume import differences
from lorarec.registry.resolve import ResolvedRecipe, full_recipe


def warm_start(model: RecModel, resolved: ResolvedRecipe) -> dict[str, str] | None:
    """Put the weights of the run that `train.warm_start` names into the adapter; what was put in, for environment.json.

    None where the recipe names no run. Raises ArtifactError if the run is not whole, IncompatibleError if its adapter
    has other settings or was trained on other weights of the backbone.
    """
    if resolved.recipe.train.warm_start is None:
        return None
    run = read_run(Path(resolved.recipe.train.warm_start))
    text = (run.path / layout.RECIPE).read_text(encoding="utf-8")
    before, _ = read_yaml(text, str(run.path / layout.RECIPE))
    now = json.loads(json.dumps(full_recipe(resolved)["adapter"]))
    if changes := list(differences(before["adapter"], now, "adapter")):
        raise IncompatibleError(
            f"train.warm_start: the adapter in {run.path} is another one:\n  "
            + "\n  ".join(changes)
            + "\nGive the adapter the same settings, or leave train.warm_start out."
        )
    if run.environment.get("backbone_fingerprint") != model.backbone.fingerprint():
        raise IncompatibleError(
            f"train.warm_start: the adapter in {run.path} was trained on other weights of the backbone than "
            f"'{model.backbone.name}' has here. Name the same backbone, or leave train.warm_start out."
        )
    model.adapter.warm_start(model.network, run.adapter)
    digest = hashlib.sha256()
    for file in sorted(run.adapter.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return {"run": str(run.path), "adapter_sha256": digest.hexdigest()}


def check_same_start(known: Any, start: dict[str, str] | None) -> None:
    """Raise CheckpointError if a run that was begun from other weights is to begin once more from these."""
    if known is not None and start is not None and known["adapter_sha256"] != start["adapter_sha256"]:
        raise CheckpointError(
            f"train.warm_start: the adapter in {start['run']} has changed since this run was begun. Bring it back, or "
            "train into another folder without --resume."
        )

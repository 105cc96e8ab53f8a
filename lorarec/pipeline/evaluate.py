"""Judge a finished run again, on the data of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from lorarec.artifact.reader import RunFolder, read_run
from lorarec.contracts import Part
from lorarec.errors import ArtifactError, IncompatibleError
from lorarec.evaluation.evaluate import predict, table_for
from lorarec.inference.recommender import Recommender
from lorarec.pipeline.assemble import Materials, gather_materials, make_accelerator
from lorarec.pipeline.load import assemble_run
from lorarec.pipeline.measure import HELD_OUT, frozen_item_vectors, measure
from lorarec.pipeline.open_recipe import open_run_recipe


@dataclass(frozen=True)
class OpenRun:
    """A finished run beside the data it was trained on."""

    materials: Materials
    recommender: Recommender
    model: nn.Module
    accelerator: Accelerator


def open_run(folder: RunFolder) -> OpenRun:
    """Raises ArtifactError if the data or their split are not what the run was trained on."""
    resolved = open_run_recipe(folder)
    accelerator = make_accelerator(resolved)
    materials = gather_materials(resolved)
    if materials.data.report.fingerprint != folder.environment["split_fingerprint"]:
        raise ArtifactError(
            f"{folder.path}: the data of its recipe, or their split, have changed since it was trained: its metrics "
            "would not mean the same. Bring the data back, or train again."
        )
    recommender = assemble_run(folder, resolved)
    return OpenRun(materials, recommender, accelerator.prepare(recommender.model), accelerator)


@contextmanager
def refused_about(path: Path) -> Iterator[None]:
    """Name the run in what a predictor, which does not know it, refuses."""
    try:
        yield
    except IncompatibleError as error:
        raise IncompatibleError(f"{path}: {error}") from error


def evaluate(run: str | Path) -> dict[str, Any]:
    """Metrics of validation and test, their intervals and protocol, and the baselines', computed afresh from the
    run's weights and its data; of calibrated probabilities if `calibrate` was called on it.

    Raises ArtifactError if the data or their split are not what the run was trained on.
    """
    folder = read_run(Path(run))
    opened = open_run(folder)
    materials, model, accelerator = opened.materials, opened.model, opened.accelerator
    table = table_for(model, materials.examples[Part.TRAIN], accelerator)
    batch_size = materials.resolved.recipe.evaluate.batch_size
    predictions = {
        part: predict(model, materials.examples[part], materials.metrics, accelerator, batch_size, table)
        for part in HELD_OUT
        if len(materials.examples[part])
    }
    if (calibration := opened.recommender.calibration) is not None:
        calibrated = opened.recommender.predictor.calibrated
        predictions = {part: calibrated(found, calibration) for part, found in predictions.items()}
    found = measure(materials, predictions, frozen_item_vectors(materials, accelerator, folder.backbone))
    if calibration is not None:
        told = f"calibrated on validation by {calibration.method}: figures of validation are those of the rows it fits"
        found["protocol"]["probabilities"] = told
    return found

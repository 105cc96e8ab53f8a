"""Calibrate a finished click-through-rate run on its validation part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorarec.artifact import layout
from lorarec.artifact.layout import write_checksums
from lorarec.artifact.reader import read_run
from lorarec.contracts import Part, Scored
from lorarec.errors import DataError
from lorarec.evaluation.calibration import Calibration, Method, calibration_error, log_loss
from lorarec.evaluation.evaluate import predict, table_for
from lorarec.pipeline.evaluate import refused_about
from lorarec.pipeline.load import open_run


@dataclass(frozen=True)
class CalibrationReport:
    """Calibration error and log loss before and after, by part."""

    rows: list[tuple[str, str, float, float]]
    """Part, measure, before, after."""
    calibration: Calibration


def calibrate(run: str | Path, method: Method = "temperature") -> CalibrationReport:
    """Fit on validation, measure there and on test, and keep the calibration in the run, which then answers with it.

    An earlier calibration of the run is replaced. Raises IncompatibleError if the run does not predict clicks,
    DataError if it has no validation part with both labels.
    """
    folder = read_run(Path(run))
    opened = open_run(folder)
    predictor = opened.recommender.predictor
    with refused_about(folder.path):
        predictor.check_calibration()
    table = table_for(opened.model, opened.materials.examples[Part.TRAIN], opened.accelerator)
    found: dict[Part, Scored] = {}
    for part in (Part.VALIDATION, Part.TEST):
        examples = opened.materials.examples[part]
        if len(examples):
            size = opened.materials.resolved.recipe.evaluate.batch_size
            judged = predict(opened.model, examples, opened.materials.metrics, opened.accelerator, size, table)
            scored = predictor.scored(judged, examples)
            assert scored is not None, "a predictor that can be calibrated gives scores"
            found[part] = scored
    if Part.VALIDATION not in found or len(np.unique(found[Part.VALIDATION][1])) < 2:
        raise DataError(f"{folder.path}: its validation part lacks clicks or their absence, so nothing can be fitted.")
    fitted = Calibration.fit(method, *found[Part.VALIDATION])
    (folder.path / layout.CALIBRATION).write_text(json.dumps(fitted.to_dict(), indent=1) + "\n", encoding="utf-8")
    write_checksums(folder.path)
    return CalibrationReport(
        [
            (part.name.lower(), name, measure(scores, labels), measure(fitted(scores), labels))
            for part, (scores, labels) in found.items()
            for name, measure in (("ece", calibration_error), ("log_loss", log_loss))
        ],
        fitted,
    )

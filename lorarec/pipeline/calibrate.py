"""Calibrate a finished click-through-rate run on its validation part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorarec.artifact import layout
from lorarec.artifact.layout import write_calibration
from lorarec.artifact.reader import RunFolder, read_run
from lorarec.contracts import Part, Scored
from lorarec.disk import locked
from lorarec.errors import DataError
from lorarec.evaluation.calibration import Calibration, Method, calibration_error, log_loss
from lorarec.pipeline.evaluate import held_out_predictions, refused_about
from lorarec.pipeline.load import OpenRun, open_run
from lorarec.registry.faults import plugin_faults


@dataclass(frozen=True)
class CalibrationReport:
    """Calibration error and log loss before and after, by part."""

    rows: list[tuple[str, str, float, float]]
    """Part, measure, before, after."""
    calibration: Calibration


@plugin_faults()
def calibrate(run: str | Path, method: Method = "temperature") -> CalibrationReport:
    """Fit on validation, measure on validation and test, and store the calibration in the run, which then uses it.

    An earlier calibration of the run is replaced. Raises IncompatibleError if the run does not predict clicks,
    DataError if it has no validation part with both labels.
    """
    with locked(Path(run) / layout.MANIFEST):
        return _calibrate(Path(run), method)


def _calibrate(run: Path, method: Method) -> CalibrationReport:
    folder = read_run(run)
    with open_run(folder) as opened:
        scored = _scored(folder, opened)
    if Part.VALIDATION not in scored or len(np.unique(scored[Part.VALIDATION].labels)) < 2:
        raise DataError(f"{folder.path}: its validation part has no clicks, or only clicks, so nothing can be fitted.")
    fitted = Calibration.fit(method, *scored[Part.VALIDATION])
    write_calibration(folder.path, json.dumps(fitted.to_dict(), indent=1) + "\n")
    return CalibrationReport(
        [
            (part.name.lower(), name, measure(scores, labels), measure(fitted(scores), labels))
            for part, (scores, labels) in scored.items()
            for name, measure in (("ece", calibration_error), ("log_loss", log_loss))
        ],
        fitted,
    )


def _scored(folder: RunFolder, opened: OpenRun) -> dict[Part, Scored]:
    """The scores and labels of the held-out parts."""
    predictor = opened.recommender.predictor
    with refused_about(folder.path):
        predictor.check_calibration()
    scored: dict[Part, Scored] = {}
    for part, predictions in held_out_predictions(opened).items():
        of_part = predictor.scored(predictions, opened.run_data.examples[part])
        assert of_part is not None, "a predictor that can be calibrated gives scores"
        scored[part] = of_part
    return scored

"""`lorarec calibrate`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lorarec.cli.arguments import RunFolder
from lorarec.cli.output import print_table


class Method(StrEnum):
    """How probabilities are mapped."""

    temperature = "temperature"
    isotonic = "isotonic"


def calibrate(
    run: RunFolder,
    method: Annotated[
        Method,
        typer.Option(
            help="temperature: one number, safe on little data; isotonic: any rising curve, for thousands of rows, and "
            "one probability for scores that lie near each other."
        ),
    ] = Method.temperature,
) -> None:
    """Calibrate a click-through-rate run on its validation part: its probabilities then mean what they say.

    The calibration is kept in the run folder: predict, recommend and evaluate go by it from then on. What the run was
    finished with (metrics.json, test_scores.parquet, and so compare) stays as it was trained.
    """
    from lorarec.pipeline.calibrate import calibrate as calibrate_run

    found = calibrate_run(run, method.value)
    rows = [[part, name, f"{before:.4f}", f"{after:.4f}"] for part, name, before, after in found.rows]
    print_table(["part", "measure", "before", "after"], rows, words=2)
    if found.calibration.method == "temperature":
        print(f"Temperature: {found.calibration.temperature:.3f}.")
        if found.calibration.at_its_limit:
            print(
                "That is as far as temperatures are looked for: the probabilities are far from what they should be. "
                "Train longer, or with another learning rate."
            )
    print("Fitted on validation: what it is worth, the rows of test tell.")
    print(f"{run} now answers with calibrated probabilities.")

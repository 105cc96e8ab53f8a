"""`lorarec predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.arguments import RunFolder
from lorarec.cli.output import print_notices


def predict(
    run: RunFolder,
    input_file: Annotated[
        Path, typer.Option("--input", help="Rows to score: csv, jsonl or parquet.", show_default=False)
    ],
    output_file: Annotated[
        Path,
        typer.Option("--output", help="The same rows with a score each: csv, jsonl or parquet.", show_default=False),
    ],
) -> None:
    """Score rows of an item and a history: stars, or the probability of a click.

    Columns read: item; history (ids, oldest first, joined by | in csv). A column score is added.

    Where the run uses them: history_feedback (a number beside each id of the history), and user.
    """
    from lorarec.inference.answer_files import predict_file
    from lorarec.pipeline.load import load

    print_notices(predict_file(load(run), input_file, output_file))
    print(f"Predictions are in {output_file}.")

"""`lorarec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.arguments import RunFolder
from lorarec.cli.output import print_notices


def recommend(
    run: RunFolder,
    histories: Annotated[
        Path, typer.Option(help="One history a row: csv, jsonl or parquet.", show_default=False)
    ],
    output_file: Annotated[
        Path,
        typer.Option(
            "--output", help="Items recommended, with titles: csv, jsonl or parquet.", show_default=False
        ),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each history.")] = 10,
) -> None:
    """Recommend items that continue histories.

    Columns read: history, ids from the oldest to the newest, joined by | in csv; and, where the run uses
    them, history_feedback (a number beside each id) and user. One row an item comes out: row, rank, item,
    title, score.
    """
    from lorarec.pipeline.answer_files import recommend_file
    from lorarec.pipeline.load import load

    print_notices(recommend_file(load(run), histories, output_file, k))
    print(f"Recommendations are in {output_file}.")

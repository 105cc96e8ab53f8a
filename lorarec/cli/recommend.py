"""`lorarec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.arguments import RunFolder
from lorarec.cli.output import print_notices


def recommend(
    run: RunFolder,
    histories: Annotated[Path, typer.Option(help="One history a row: csv, jsonl or parquet.", show_default=False)],
    output_file: Annotated[
        Path,
        typer.Option("--output", help="Items recommended, with titles: csv, jsonl or parquet.", show_default=False),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each history.")] = 10,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Search an index of the item vectors (extra 'index'): for next-item runs, and worth its making from "
            "100,000 items and 1,000 histories on.",
        ),
    ] = False,
    diversify: Annotated[
        float,
        typer.Option(min=0, max=1, help="Weight of unlikeness within a list against the scores, such as 0.3."),
    ] = 0.0,
) -> None:
    """Recommend items that continue histories.

    Column read: history (ids, oldest first, joined by | in csv). Written: row, rank, item, title, score.

    Where the run uses them: history_feedback (a number beside each id of the history), and user.
    """
    from lorarec.inference.answer_files import recommend_file
    from lorarec.pipeline.load import load

    print_notices(recommend_file(load(run), histories, output_file, k, approximate, diversify))
    print(f"Recommendations are in {output_file}.")

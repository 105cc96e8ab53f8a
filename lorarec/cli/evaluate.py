"""`lorarec evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.arguments import RunFolder
from lorarec.cli.output import print_metrics, print_slices, print_table, process_rank


def evaluate(
    run: RunFolder,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also by what training knows of users and items, and by popularity.")
    ] = False,
    diversify: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Also what lists weighed so far towards unlike items would cost in accuracy (next-item runs).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compute a run's metrics again, from its recipe's data and its weights."""
    from lorarec.pipeline.evaluate import evaluate as evaluate_run

    lists = None if diversify is None else _lists(run, diversify)  # first: it refuses heads that make none
    metrics = evaluate_run(run)
    if not process_rank():
        print_metrics(metrics)
        if slices:
            print_slices(metrics)
        if lists is not None:
            print_table(["lists of the test part", "by score", f"diversified {diversify:g}"], lists, words=1)


def _lists(run: Path, diversify: float) -> list[list[str]]:
    from lorarec.pipeline.evaluate import compare_lists

    return [[name, f"{plain:.4f}", f"{mixed:.4f}"] for name, plain, mixed in compare_lists(run, diversify)]

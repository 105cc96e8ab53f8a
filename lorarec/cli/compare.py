"""`lorarec compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.output import print_lines, print_table


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of two finished runs or more.", show_default=False)
    ],
) -> None:
    """Compare runs with the first one: differences on the same test rows, with their 95% intervals.

    Runs that were judged on other rows or by other rules are refused, and what differs is named.
    """
    from lorarec.pipeline.compare import compare as compare_runs

    found = compare_runs(runs)
    rows = [
        [
            row.metric,
            row.run,
            f"{row.value:.4f}",
            f"{row.first:.4f}",
            f"{row.value - row.first:+.4f}",
            "" if row.low is None else f"{row.low:+.4f} to {row.high:+.4f}",
            "" if row.better is None else f"{row.better:.1%}",
        ]
        for row in found.rows
    ]
    columns = ["metric", "run", "its value", f"{found.first}", "difference", "95% interval", "better in"]
    print_table(columns, rows, words=2)
    print_lines(found.notes())

"""`lorarec check`."""

from __future__ import annotations

from lorarec.cli.arguments import Overrides, RecipeName
from lorarec.cli.output import print_lines, process_rank


def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Do everything but train: show the recipe, the parts, the data, what would train, memory and time."""
    from lorarec.pipeline.check import check as check_recipe

    report = check_recipe(recipe, overrides or ())
    if not process_rank():
        print_lines(report.lines())

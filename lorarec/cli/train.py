"""`lorarec train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.arguments import Overrides, RecipeName
from lorarec.cli.output import print_lines, print_metrics, process_rank

_PREVIEWED = 5


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the finished run; runs/NAME by default.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's latest checkpoint.")] = False,
) -> None:
    """Train a recipe and write the run folder."""
    from lorarec.pipeline.train import train as train_recipe

    recommender = train_recipe(recipe, overrides or (), output=output, resume=resume)
    if process_rank():
        return
    print_metrics(recommender.metrics)
    print_lines(recommender.recommendations_preview(_PREVIEWED))
    print(f"The run is in {recommender.path}.")

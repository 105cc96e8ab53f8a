"""`lorarec train`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorarec.cli.arguments import Overrides, RecipeName
from lorarec.cli.output import print_lines, print_metrics, process_rank

if TYPE_CHECKING:
    from lorarec.artifact.recommender import Recommender

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
    print_lines(_preview(recommender))
    print(f"The run is in {recommender.path}.")


def _preview(recommender: Recommender) -> Iterator[str]:
    """What the model recommends for one user of the test part: numbers alone hide nonsense."""
    items, feedback = [item for item, _ in recommender.sample], [number for _, number in recommender.sample]
    titles = recommender.catalog.titles(recommender.catalog.rows[item] for item in items)
    yield "A user of the test part had:"
    for title, number in zip(titles, feedback, strict=True):
        yield f"  {title}" + ("" if number != number else f"  ({number:g})")
    yield "and is recommended:"
    for found in recommender.recommend([items], k=_PREVIEWED, feedback=[feedback])[0]:
        yield f"  {found.title}  ({found.score:.3f})"

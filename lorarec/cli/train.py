"""`lorarec train`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
        typer.Option(
            help="Folder of the finished run, which must not exist yet; runs/NAME by default.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the latest checkpoint of a stopped run.")
    ] = False,
) -> None:
    """Train a recipe, print its metrics beside a baseline's, and write the run folder.

    For example: lorarec train quickstart adapter=prefix train.epochs=2 --output runs/prefix
    """
    from lorarec.pipeline.train import train as train_recipe

    recommender = train_recipe(recipe, overrides or (), output=output, resume=resume)
    if process_rank():
        return
    print_metrics(recommender.metrics)
    print_lines(_effort(recommender.metrics))
    print_lines(_preview(recommender))
    print(f"\nThe run is in {recommender.path}.")


def _effort(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What the result has cost."""
    trained, total, seconds = metrics["trainable_weights"], metrics["total_weights"], metrics["train_seconds"]
    time = f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    yield f"Trained {trained:,} of {total:,} weights ({trained / total:.2%}) in {time}."
    yield ""


def _preview(recommender: Recommender) -> Iterator[str]:
    """What the model recommends for one user of the test part: numbers alone hide nonsense."""
    items, feedback = [item for item, _ in recommender.sample], [number for _, number in recommender.sample]
    titles = recommender.catalog.titles(recommender.catalog.rows[item] for item in items)
    yield "One user of the test part had, oldest first:"
    for title, number in zip(titles, feedback, strict=True):
        yield f"  {title}" + ("" if number != number else f"  ({number:g})")
    yield "and is recommended:"
    for found in recommender.recommend([items], k=_PREVIEWED, feedback=[feedback])[0]:
        yield f"  {found.title}  ({found.score:.3f})"

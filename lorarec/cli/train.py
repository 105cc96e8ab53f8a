"""The commands `lorarec train` and `lorarec check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorarec.cli.output import print_lines, print_metrics, print_table, process_rank

if TYPE_CHECKING:
    from lorarec.inference.recommender import Recommender

RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe file, or a name from `lorarec recipes`.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help="Changes to the recipe: adapter=NAME swaps a plugin, train.epochs=2 sets a value.",
        show_default=False,
    ),
]
_PREVIEWED = 5
"""Number of items recommended after training, as a preview."""


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
        bool, typer.Option("--resume", help="Continue from the latest checkpoint of a stopped run.")
    ] = False,
) -> None:
    """Train a recipe, print its metrics next to those of baselines, and write the run folder.

    For example: lorarec train quickstart adapter=prefix train.epochs=2 --output runs/prefix

    With the override seeds=1,2,3 it trains once for each seed, into DIR-seed1 and so on, and prints mean and standard
    deviation.
    """
    if any(override.startswith("seeds=") for override in overrides or ()):
        _train_seeds(recipe, overrides or [], output, resume)
        return
    from lorarec.pipeline.train import train as train_recipe

    recommender = train_recipe(recipe, overrides or (), output=output, resume=resume)
    if process_rank():
        return
    print_metrics(recommender.metrics)
    print_lines(_effort(recommender.metrics))
    print_lines(_preview(recommender))
    print(f"\nThe run is in {recommender.path}.")


def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Do everything except training: print the recipe, the parts, the data, trainable weights, memory and time.

    Of the override seeds=1,2,3, the first seed is checked.
    """
    from lorarec.pipeline.check import check as check_recipe
    from lorarec.pipeline.train_seeds import seeds_of

    seeds, rest = seeds_of(overrides or [])
    report = check_recipe(recipe, [*rest, *(f"seed={seed}" for seed in seeds[:1])])
    if not process_rank():
        print_lines(report.lines())


def _train_seeds(recipe: str, overrides: list[str], output: Path | None, resume: bool) -> None:
    from lorarec.pipeline.train_seeds import seeds_of, train_seeds

    seeds, rest = seeds_of(overrides)
    report = train_seeds(recipe, seeds, rest, output=output, resume=resume)
    if process_rank():
        return
    rows = [
        [
            each.part,
            each.metric,
            f"{each.mean:.4f}",
            f"{each.deviation:.4f}",
            *(f"{value:.4f}" for value in each.values),
        ]
        for each in report.spreads
    ]
    print_table(["part", "metric", "mean", "standard deviation", *(f"seed {seed}" for seed in seeds)], rows, words=2)
    if not report.one_split:
        print(
            "Each seed drew different rows or items for training or evaluation: the deviation includes this variation."
        )
    print(f"The runs are in {', '.join(str(folder) for folder in report.folders)}.")


def _effort(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Trained weights and training time."""
    from lorarec.pipeline.check import duration

    trained, total, seconds = metrics["trainable_weights"], metrics["total_weights"], metrics["train_seconds"]
    yield f"Trained {trained:,} of {total:,} weights ({trained / total:.2%}) in {duration(seconds)}."
    yield ""


def _preview(recommender: Recommender) -> Iterator[str]:
    """Recommendations for one user of the test part: metrics alone can hide nonsense."""
    items, feedback = [item for item, _ in recommender.sample], [number for _, number in recommender.sample]
    titles = recommender.catalog.titles(recommender.catalog.rows[item] for item in items)
    yield "One user of the test part had, oldest first:"
    for title, number in zip(titles, feedback, strict=True):
        yield f"  {title}" + ("" if number != number else f"  ({number:g})")
    yield "and is recommended:"
    for item in recommender.recommend([items], k=_PREVIEWED, feedback=[feedback])[0]:
        yield f"  {item.title}  ({item.score:.3f})"

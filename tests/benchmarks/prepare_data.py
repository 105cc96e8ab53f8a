"""The time of preparing 100,000 events (MovieLens 100K) against one epoch of training of the same recipe.

Read, number, split, look up histories, tokenize, make examples: each stage is timed in a run of `lorarec.train` in a
fresh process whose caches are empty, so that files are parsed and texts tokenized again (the system may have the files
in memory). With --steps the epoch is shortened and its seconds are extrapolated from those steps, which the output
says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from paired import DATA, Side, add_run_options, in_turn, print_figure, record

RECIPES = ("movielens_next_item", "movielens_rating")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "ml-100k", help="folder with ratings.parquet")
    parser.add_argument("--raw", action="store_true", help="read GroupLens's text files in its folder raw instead")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--steps", type=int, help="steps of the epoch to run (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes per recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of our recipes")
    add_run_options(parser)
    return parser.parse_args()


def side(recipe: str, arguments: argparse.Namespace) -> Side:
    """One recipe for one epoch."""
    folder = arguments.data / "raw" if arguments.raw else arguments.data
    overrides = [f"data.source.path={folder.resolve()}", "train.epochs=1", "train.save_every=never"]
    if arguments.steps:
        overrides.append(f"train.max_steps={arguments.steps}")
    return Side(recipe, "ours.prepare", [recipe, *overrides, *arguments.set])


def main() -> None:
    """Run each recipe in turn, and print the stages."""
    arguments = options()
    rounds = in_turn([side(recipe, arguments) for recipe in arguments.recipes], arguments.repeats, arguments.threads)
    for figure in next(iter(rounds[0].values())):
        if figure.endswith("_seconds") and figure != "epoch_seconds":
            print_figure(rounds, figure, figure.replace("_", ", "))
    part = min(figures["measured_share_of_epoch"] for figures in rounds[0].values())
    how = "" if part > 0.999 else f" (extrapolated from {part:.1%} of it, or more)"
    print_figure(rounds, "epoch_seconds", f"one epoch of training, seconds{how}")
    print_figure(rounds, "share", "preparation over one epoch")
    record("prepare_data", arguments, rounds)


if __name__ == "__main__":
    main()

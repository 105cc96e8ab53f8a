"""How accurate `lorarec check` is: its estimate of time and memory against the real run, for each bundled recipe.

Each is a fresh process with the same threads; the estimate comes first, then the run. The run's seconds are those in
its metrics.json: from the loading of the model to the last evaluation. A ratio above 1 means that the estimate is too
high; the target is 0.75 to 1.25.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from paired import DATA, ROOT, Side, add_options, in_turn, middle, ratio, record

FOLDERS = {"tallrec": "tallrec-movie", "movielens": "ml-100k"}
"""The first word of a recipe's name, and the folder of its data; other recipes need no folder."""
WITHIN = (0.75, 1.25)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with tallrec-movie and ml-100k")
    bundled = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
    parser.add_argument("--recipes", nargs="+", choices=bundled, default=bundled)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of all of them")
    add_options(parser, pairs=1)
    return parser.parse_args()


def sides(recipe: str, arguments: argparse.Namespace) -> list[Side]:
    """The estimate and the run."""
    folder = FOLDERS.get(recipe.split("_")[0])
    overrides = [f"data.source.path={(arguments.data / folder).resolve()}"] if folder else []
    if folder == FOLDERS["tallrec"]:
        overrides.append(f"data.source.items={(arguments.data / 'ml-100k' / 'items.parquet').resolve()}")
    given = [recipe, *overrides, *arguments.set]
    return [Side("check", "ours.check", given), Side("run", "ours.train", [*given, "--no-cost"])]


def main() -> None:
    """Check and run each recipe, and print a table."""
    arguments = options()
    every = {name: in_turn(sides(name, arguments), arguments.pairs, arguments.threads) for name in arguments.recipes}
    print("\n| recipe | seconds: estimate, run | ratio | MiB: estimate, run | ratio | within 25% |\n|-|-|-|-|-|-|")
    for name, rounds in every.items():
        seconds = ratio(rounds, ("check", "seconds"), ("run", "train_seconds")).median
        memory = ratio(rounds, ("check", "peak_memory_mib"), ("run", "peak_memory_mib")).median
        figures = [middle(rounds, "check", "seconds"), middle(rounds, "run", "train_seconds")]
        figures += [middle(rounds, "check", "peak_memory_mib"), middle(rounds, "run", "peak_memory_mib")]
        right = "yes" if all(WITHIN[0] <= value <= WITHIN[1] for value in (seconds, memory)) else "no"
        cells = [name, f"{figures[0]:.1f}, {figures[1]:.1f}", f"{seconds:.2f}"]
        cells += [f"{figures[2]:.0f}, {figures[3]:.0f}", f"{memory:.2f}", right]
        print(f"| {' | '.join(cells)} |")
    record("check_estimate", arguments, every)


if __name__ == "__main__":
    main()

"""One run in which each stage of preparing the data, and the epoch, are timed. Prints one JSON line.

`python -m ours.prepare RECIPE [KEY=VALUE ...]`. If train.max_steps shortens the epoch, its seconds are extrapolated
from the rows that were trained on. Not timed: imports and the loading of weights.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ours.stages import STAGES, timed_stages
from ours.train import train


def prepare(recipe: str, overrides: list[str]) -> dict[str, Any]:
    """Seconds of the stages, seconds of an epoch, and their ratio."""
    with timed_stages() as seconds:
        figures = train(recipe, overrides, None, cost=False)
    share_taken = figures["rows"] / len(figures["epoch_seconds"]) / figures["rows_in_all"]
    epoch = sum(figures["epoch_seconds"]) / len(figures["epoch_seconds"]) / share_taken
    return {
        **{f"{stage}_seconds": seconds[stage] for stage in (*STAGES, "rest")},
        "prepare_seconds": seconds["all"],
        "epoch_seconds": epoch,
        "measured_share_of_epoch": min(1.0, share_taken),
        "share": seconds["all"] / epoch,
        "rows_in_all": figures["rows_in_all"],
        "steps": figures["steps"],
        "threads": figures["threads"],
    }


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    print(json.dumps(prepare(arguments.recipe, arguments.overrides)))


if __name__ == "__main__":
    main()

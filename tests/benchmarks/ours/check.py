"""The estimates of `lorarec check` for a recipe, as one JSON line. `python -m ours.check RECIPE [KEY=VALUE ...]`."""

from __future__ import annotations

import argparse
import json

import torch

from lorarec.pipeline.check import check


def main() -> None:
    """Read the command line, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    report = check(arguments.recipe, arguments.overrides)
    figures = {
        "seconds": report.estimated_seconds,
        "peak_memory_mib": report.costs.peak_memory_mib,
        "seconds_per_step": report.costs.seconds_per_step,
        "steps": report.total_steps,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Our side of every training benchmark: `lorarec.train` with timers. Prints one JSON line of figures.

`python -m ours.train RECIPE [KEY=VALUE ...] [--output RUN] [--no-cost]`
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import lorarec
from lorarec.engine.fit import Fit
from lorarec.pipeline.train import peak_memory_mib
from ours.step_cost import StepCost, epoch_cost
from ours.watch import Epoch, Watch


def train(recipe: str, overrides: Sequence[str], output: Path | None, cost: bool) -> dict[str, Any]:
    """Train, and return every figure. The run folder is kept only if `output` is given."""
    costs: list[StepCost] = []
    at_last_step: dict[str, float] = {}

    def at_end(fit: Fit, watch: Watch) -> None:
        at_last_step["fit_memory_mib"] = peak_memory_mib()  # before operations are counted
        at_last_step["rows_in_all"] = len(fit.loader.examples)
        if cost:
            costs.extend(epoch_cost(fit, epoch.number, epoch.steps) for epoch in watch.epochs)

    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as folder, Watch.on(at_end) as watch:
        recommender = lorarec.train(recipe, overrides, output=output or Path(folder) / "run")
    return {
        **_speed(watch, costs),
        **at_last_step,
        "peak_memory_mib": recommender.metrics["peak_memory_mib"],
        "gpu_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None,
        "train_seconds": recommender.metrics["train_seconds"],
        "test": recommender.metrics["test"],
        "validation": recommender.metrics["validation"],
        "baselines": recommender.metrics["baselines"],
        **{f"test_{name}": value for name, value in recommender.metrics["test"].items()},
        "threads": torch.get_num_threads(),
    }


def _speed(watch: Watch, costs: Sequence[StepCost]) -> dict[str, Any]:
    """Rates over all epochs, of the first one including filling the cache, and of the later ones."""
    total, later = watch.totals, watch.sum_of(watch.epochs[1:])
    cpu = not torch.cuda.is_available()
    figures: dict[str, Any] = {
        "rows_per_second": total.rows / total.seconds,
        "targets_per_second": total.targets / total.seconds,
        "first_epoch_rows_per_second": watch.epochs[0].rows / (watch.epochs[0].seconds + watch.cache_seconds),
        "cache_seconds": watch.cache_seconds,
        "later_rows_per_second": later.rows / later.seconds if later.seconds else None,
        "epoch_seconds": [epoch.seconds for epoch in watch.epochs],
        "steps": total.steps,
        "rows": total.rows,
        "targets": total.targets,
        # GPU calls return before they are done, so such timers cannot separate the parts.
        "outside_share": total.outside() if cpu else None,
        "shares": _shares(total) if cpu else None,
    }
    if costs:
        tokens = sum(cost.tokens for cost in costs)
        figures["tokens_per_second"] = tokens / total.seconds
        figures["padding"] = 1 - tokens / max(1, sum(cost.positions for cost in costs))
        figures["model_gflops"] = sum(cost.flops for cost in costs) / total.seconds / 1e9
    return figures


def _shares(epoch: Epoch) -> dict[str, float]:
    shares = {part: seconds / epoch.seconds for part, seconds in epoch.parts.items()}
    return {**shares, "rest": 1 - sum(shares.values())}


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, help="keep the run folder at this path")
    parser.add_argument("--no-cost", action="store_true", help="do not count tokens and operations after training")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    figures = train(arguments.recipe, arguments.overrides, arguments.output, not arguments.no_cost)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Our side of recommending: `Recommender.recommend` over the whole catalog, model warm. Prints one JSON line.

`python -m ours.recommend RUN [--users N] [--k K] [--simulated]`. Timed: one call for all users, from histories of ids
to titles, after a warm-up call for a few users that encodes the item table and is reported separately.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lorarec
from lorarec.artifact import layout
from lorarec.data.ordering import time_order
from lorarec.inference.recommender import Recommender
from lorarec.pipeline.assemble import gather_run_data, open_recipe
from lorarec.pipeline.train import peak_memory_mib

WARM = 8
"""Users of the warm-up call."""
SIMULATED_LENGTH = 50
"""Events of a simulated history."""


def known_histories(run: Path, users: int | None) -> list[list[str]]:
    """All events of each user in the run's data, oldest first."""
    data = gather_run_data(open_recipe(run / layout.RECIPE)).data
    interactions, ids = data.interactions, data.catalog.ids
    order = time_order(interactions.user, interactions.time)
    histories: list[list[str]] = [[] for _ in interactions.user_ids]
    for user, item in zip(interactions.user[order].tolist(), interactions.item[order].tolist(), strict=True):
        histories[user].append(ids[item])
    return histories[:users]


def simulated_histories(recommender: Recommender, users: int) -> list[list[str]]:
    """Histories of random items, so that the data need not be read again when memory is measured."""
    generator = np.random.default_rng(0)
    ids = recommender.catalog.ids
    return [[ids[row] for row in generator.integers(0, len(ids), SIMULATED_LENGTH)] for _ in range(users)]


def recommend(run: Path, users: int | None, k: int, simulated: bool) -> dict[str, Any]:
    """Seconds for all users, of loading and of the warm-up."""
    known = None if simulated else known_histories(run, users)
    started = time.perf_counter()
    recommender = lorarec.load(run)
    loaded = time.perf_counter()
    histories = known if known is not None else simulated_histories(recommender, users or WARM)
    recommender.recommend(histories[:WARM], k=k)
    warm = time.perf_counter()
    answers = recommender.recommend(histories, k=k)
    seconds = time.perf_counter() - warm
    if any(len(answer) < k for answer in answers):
        raise SystemExit(f"Some users got fewer than {k} items, since they have seen the others. Lower --k.")
    size = len(recommender.catalog)
    return {
        "users": len(histories),
        "catalog": size,
        "seconds": seconds,
        "users_per_second": len(histories) / seconds,
        "pairs_per_second": len(histories) * size / seconds,
        "load_seconds": loaded - started,
        "warm_up_seconds": warm - loaded,
        "peak_memory_mib": peak_memory_mib(),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Read the command line, recommend, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--users", type=int, help="default: all of the run's data")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--simulated", action="store_true", help="use random histories instead of the run's data")
    arguments = parser.parse_args()
    print(json.dumps(recommend(arguments.run, arguments.users, arguments.k, arguments.simulated)))


if __name__ == "__main__":
    main()

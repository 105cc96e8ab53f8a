"""Our side of recommending: `Recommender.recommend` over the whole catalogue, model warm. Prints one JSON line.

`python -m ours.recommend RUN [--users N] [--k K] [--made-up]`. Timed: one call for all users, from histories of ids to
titles, after a call for a few users that bears the warm-up and encodes the item table; that call is told apart.
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
from lorarec.data.split import time_order
from lorarec.inference.recommender import Recommender
from lorarec.pipeline.assemble import gather_materials, open_recipe
from lorarec.pipeline.train import peak_memory_mib

WARM = 8
"""Users of the call that warms up."""
MADE_UP_LENGTH = 50
"""Events of a made-up history."""


def known_histories(run: Path, users: int | None) -> list[list[str]]:
    """All events of each user in the run's data, oldest first."""
    data = gather_materials(open_recipe(run / layout.RECIPE)).data
    interactions, ids = data.interactions, data.catalog.ids
    order = time_order(interactions.user, interactions.time)
    found: list[list[str]] = [[] for _ in interactions.user_ids]
    for user, item in zip(interactions.user[order].tolist(), interactions.item[order].tolist(), strict=True):
        found[user].append(ids[item])
    return found[:users]


def made_up_histories(recommender: Recommender, users: int) -> list[list[str]]:
    """Items drawn from the catalogue: for memory, where the data need not be read again."""
    draw = np.random.default_rng(0)
    ids = recommender.catalog.ids
    return [[ids[row] for row in draw.integers(0, len(ids), MADE_UP_LENGTH)] for _ in range(users)]


def recommend(run: Path, users: int | None, k: int, made_up: bool) -> dict[str, Any]:
    """Seconds for all users, and what it took to get warm."""
    known = None if made_up else known_histories(run, users)
    started = time.perf_counter()
    recommender = lorarec.load(run)
    loaded = time.perf_counter()
    histories = known if known is not None else made_up_histories(recommender, users or WARM)
    recommender.recommend(histories[:WARM], k=k)
    warm = time.perf_counter()
    answers = recommender.recommend(histories, k=k)
    seconds = time.perf_counter() - warm
    if any(len(answer) < k for answer in answers):
        raise SystemExit(f"Some users were given fewer than {k} items: they have seen the others. Lower --k.")
    size = len(recommender.catalog)
    return {
        "users": len(histories),
        "catalogue": size,
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
    parser.add_argument("--made-up", action="store_true", help="draw the histories instead of reading the run's data")
    arguments = parser.parse_args()
    print(json.dumps(recommend(arguments.run, arguments.users, arguments.k, arguments.made_up)))


if __name__ == "__main__":
    main()

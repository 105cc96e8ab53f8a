"""Our side of scoring: `Recommender.predict` over the test rows of a finished run's recipe. Prints one JSON line.

`python -m ours.score RUN [--calls N]`. Timed: only the calls, from ids to scores; the first one includes the warm-up
and encodes the item table, the later ones reuse it. Not timed: imports, loading the run, reading the rows.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.metrics import roc_auc_score

import lorarec
from lorarec.artifact import layout
from lorarec.contracts import Part
from lorarec.pipeline.assemble import gather_run_data, open_recipe
from lorarec.pipeline.train import peak_memory_mib


class Rows(NamedTuple):
    """Requests with the caller's ids, and their labels."""

    items: list[str]
    histories: list[list[str]]
    feedback: list[list[float]]
    labels: list[float]


def read_rows(run: Path) -> Rows:
    """The test part of the run's recipe, as a caller would send it."""
    run_data = gather_run_data(open_recipe(run / layout.RECIPE))
    examples, data = run_data.examples[Part.TEST], run_data.data
    ids = data.catalog.ids
    histories = [data.histories.before(int(event)) for event in examples.events]
    return Rows(
        items=[ids[row] for row in examples.items],
        histories=[[ids[row] for row in history.items] for history in histories],
        feedback=[[float(number) for number in history.feedback] for history in histories],
        labels=examples.labels().tolist(),
    )


def score(run: Path, calls: int) -> dict[str, Any]:
    """Rows per second of the first and of the last call, and the area under the ROC curve."""
    rows = read_rows(run)
    recommender = lorarec.load(run)
    rates = []
    for _ in range(calls):
        started = time.perf_counter()
        scores = recommender.predict(rows.items, rows.histories, rows.feedback)
        rates.append(len(rows.items) / (time.perf_counter() - started))
    return {
        "predicted_per_second": rates[0],
        "again_per_second": rates[-1] if calls > 1 else None,
        "rows": len(rows.items),
        "catalog": len(recommender.catalog),
        "test_auc": float(roc_auc_score(rows.labels, scores)),
        "peak_memory_mib": peak_memory_mib(),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Read the command line, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--calls", type=int, default=2)
    arguments = parser.parse_args()
    print(json.dumps(score(arguments.run, arguments.calls)))


if __name__ == "__main__":
    main()

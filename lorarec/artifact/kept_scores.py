"""Kept scores: what a run said of each test example, so that runs can be compared row by row. No histories, no items:
users are numbers that mean nothing elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.contracts import Part
from lorarec.engine.evaluate import Predictions
from lorarec.engine.examples import Examples


class KeptScores(NamedTuple):
    """One entry a test example, in the order of the examples."""

    reads: Literal["scores", "ranks"]
    users: np.ndarray
    """[n] int64 which examples are of one user."""
    values: np.ndarray
    """[n] scores in the unit of the label, or zero-based ranks of the held-out items."""
    labels: np.ndarray
    """[n] what was to be predicted; -1 beside ranks."""


def kept_scores(examples: dict[Part, Examples], predictions: dict[Part, Predictions]) -> KeptScores | None:
    """What is kept of the test part; None where it has no examples."""
    if Part.TEST not in predictions:
        return None
    found, asked = predictions[Part.TEST], examples[Part.TEST]
    _, users = np.unique(asked.users[found.rows], return_inverse=True)
    if asked.head.kind == "retrieval":
        return KeptScores("ranks", users, found.scores.astype(np.int64), np.full(len(users), -1))
    return KeptScores("scores", users, found.scores, asked.labels()[found.rows])


def write_kept_scores(path: Path, kept: KeptScores) -> None:
    """Write columns user, and rank or score and label."""
    columns = {"user": pa.array(kept.users)}
    if kept.reads == "ranks":
        columns["rank"] = pa.array(kept.values)
    else:
        columns |= {"score": pa.array(kept.values), "label": pa.array(kept.labels)}
    pq.write_table(pa.table(columns), path)


def read_kept_scores(path: Path) -> KeptScores:
    """What `write_kept_scores` wrote."""
    table = pq.read_table(path)
    users = table.column("user").to_numpy()
    if "rank" in table.column_names:
        return KeptScores("ranks", users, table.column("rank").to_numpy(), np.full(len(users), -1))
    return KeptScores("scores", users, table.column("score").to_numpy(), table.column("label").to_numpy())

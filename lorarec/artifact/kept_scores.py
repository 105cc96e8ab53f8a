"""Kept scores: what a run said of each test example, so that runs can be compared row by row. No histories, no items:
users are numbers that mean nothing elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.contracts import Examples, Part, Predictions

USER = "user"


class KeptScores(NamedTuple):
    """One entry a test example, in the order of the examples."""

    users: np.ndarray
    """[n] int64 which examples are of one user."""
    columns: Mapping[str, np.ndarray]
    """[n] by name, as the head's predictor keeps them and reads them again."""


def kept_scores(examples: dict[Part, Examples], predictions: dict[Part, Predictions]) -> KeptScores | None:
    """What is kept of the test part; None where it has no examples."""
    if Part.TEST not in predictions:
        return None
    found, asked = predictions[Part.TEST], examples[Part.TEST]
    _, users = np.unique(asked.users[found.rows], return_inverse=True)
    return KeptScores(users, asked.predictor.kept(found, asked))


def write_kept_scores(path: Path, kept: KeptScores) -> None:
    """Write the column user, and the predictor's."""
    columns = {USER: kept.users, **kept.columns}
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)


def read_kept_scores(path: Path) -> KeptScores:
    """What `write_kept_scores` wrote."""
    table = pq.read_table(path)
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return KeptScores(columns.pop(USER), columns)

"""Contests: each fact that was liked beside others that were not, for losses that compare."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lorarec.contracts import DataError

RIVAL = "rival"


def contests(facts: Dataset, owner: np.ndarray, rivals: int) -> Dataset:
    """One row a contest: the columns of `facts` (numbers) for what was liked, and `rival1_...` to `rival{R}_...` for
    what was not.

    owner [n]: only facts of one owner (a user; the event, where items are drawn beside it) meet. Each fact takes part
    at least once, turn by turn; owners who liked everything or nothing have no contests.
    Raises DataError where nobody has any.
    """
    columns = facts.with_format("numpy")[:]
    label = np.asarray(columns["label"])
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
    liked, beaten = [], []
    for places in np.split(order, starts[1:]):
        likes, others = places[label[places] > 0], places[label[places] <= 0]
        if len(likes) and len(others):
            turns = np.arange(max(len(likes), -(-len(others) // rivals)))
            liked.append(likes[turns % len(likes)])
            beaten.append(others[(turns[:, None] * rivals + np.arange(rivals)) % len(others)])
    if not liked:
        raise DataError(
            "head.loss=ranking compares what a user liked with what the same user did not, and nobody has both in "
            "training. Set head.loss=bce, or draw items with head.negatives."
        )
    first, rest = np.concatenate(liked), np.concatenate(beaten)
    table = {name: np.asarray(column)[first] for name, column in columns.items()}
    for rival in range(rivals):
        table |= {f"{RIVAL}{rival + 1}_{name}": np.asarray(c)[rest[:, rival]] for name, c in columns.items()}
    return Dataset.from_dict(table)


def facts_of_contests(rows: dict[str, np.ndarray], rivals: int) -> dict[str, np.ndarray]:
    """The columns of [B * (1 + R)] facts, each contest's together and what was liked first; `row` stays [B]."""
    names = [name for name in rows if name != "row" and not name.startswith(RIVAL)]
    numbers = range(1, rivals + 1)
    flat = {n: np.stack([rows[n], *(rows[f"{RIVAL}{k}_{n}"] for k in numbers)], axis=1).ravel() for n in names}
    return {"row": rows["row"], **flat}

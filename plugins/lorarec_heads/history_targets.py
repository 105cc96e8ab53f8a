"""Supervision hidden in histories: events of training rows' own histories, as targets of their own."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lorarec.contracts import DataError, Histories, Interactions, Part

ITSELF = -1
"""`ago` of a row's own target, which lies after all of its history."""
SORTED_ROWS = 8
"""So many histories with likes and dislikes, and each of them sorted by it: that is no order in time."""


def with_history_targets(own: Dataset, interactions: Interactions, histories: Histories, limit: int) -> Dataset:
    """The training rows' own examples (columns `event`, `label`), then the events of their histories.

    Columns: `event`, the row; `ago`, how many events of its history came after the target, -1 for the row's own;
    `item`; `label`. What came before the target is its history. Each user's item is a target once, where the most
    came before it, and never if it is the target of another row: those of validation and test stay hidden, those of
    training are examples already. Without users in the data, rows cannot be told to be of one person: what one row
    asks may then be in the history of another.

    Raises DataError where rows bring no histories of their own, or unlabelled ones, or ones that are not in order.
    """
    if not interactions.has("history_feedback"):
        raise DataError(
            "head.history_targets learns from histories that the rows bring along with feedback, and there are no "
            "columns 'history' and 'history_feedback'. Leave it out: all training events are targets already."
        )
    events = interactions.rows(Part.TRAIN)
    found, mask = histories.latest(events, limit)
    labelled = mask & ~np.isnan(found.feedback)
    liked = found.feedback > histories.liked_above
    _refuse_sorted(liked, labelled)
    row, column = np.nonzero(labelled)
    items = found.items[row, column]
    before = column - (mask.shape[1] - mask.sum(axis=1))[row]  # histories are right-aligned
    pair = interactions.user[events][row] * (interactions.item.max() + items.max(initial=0) + 1) + items
    asked = interactions.user * (interactions.item.max() + items.max(initial=0) + 1) + interactions.item
    order = np.lexsort((row, -before, pair))  # the most events before, then the earliest row
    _, first = np.unique(pair[order], return_index=True)
    kept = np.sort(order[first])
    kept = kept[~np.isin(pair[kept], asked[interactions.part != Part.UNUSED])]
    own_columns = {name: np.asarray(own.with_format("numpy")[name]) for name in ("event", "label")}
    return Dataset.from_dict(
        {
            "event": np.concatenate((own_columns["event"], events[row[kept]])),
            "ago": np.concatenate((np.full(len(own), ITSELF), mask.shape[1] - 1 - column[kept])),
            "item": np.concatenate((interactions.item[own_columns["event"]], items[kept])),
            "label": np.concatenate((own_columns["label"], liked[row[kept], column[kept]].astype(np.float64))),
        }
    )


def _refuse_sorted(liked: np.ndarray, labelled: np.ndarray) -> None:
    """Raise DataError if likes come first, or last, in every history: what is before a target would give it away."""
    known = np.where(labelled, liked, np.nan)
    mixed = (labelled & liked).any(axis=1) & (labelled & ~liked).any(axis=1)
    if mixed.sum() < SORTED_ROWS:
        return
    steps = [np.diff(row[~np.isnan(row)]) for row in known[mixed]]
    if all((step <= 0).all() for step in steps) or all((step >= 0).all() for step in steps):
        raise DataError(
            "head.history_targets: all histories list what was liked apart from what was not, so they are not in the "
            "order of time, and what stands before an event gives its label away. Give histories in order (source "
            "'instruction': data.source.rows=true), or leave history_targets out."
        )


def before_targets(ago: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[B, L] true where an event of the history [B, L], right-aligned, came before the target."""
    return mask & (np.arange(mask.shape[1])[::-1] > ago[:, None])

"""Statistics: what the training rows say, for heads and baselines to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from lorarec.data.columns import CLICK, HISTORY, HISTORY_FEEDBACK, RATING, WEIGHT
from lorarec.data.events import Meaning
from lorarec.data.history import feedback_column
from lorarec.data.interactions import Interactions, Part
from lorarec.errors import DataError


class TrainingEvents(NamedTuple):
    """The training rows, in table order."""

    rows: np.ndarray
    """[n] int64 where they stand in the interactions, ascending."""
    user: np.ndarray
    """[n] int64"""
    item: np.ndarray
    """[n] int64 catalog rows."""
    label: np.ndarray
    """[n] float64 what is predicted; empty where the head makes the labels."""
    weight: np.ndarray
    """[n] float64 how much each row counts; 1 where the data have no weights."""


@dataclass(frozen=True)
class Statistics:
    """What the training rows say, for heads to start from. Kept in the run folder, so that a head can be
    rebuilt."""

    MOST_VALUES: ClassVar[int] = 100
    item_counts: np.ndarray
    """[N] int64 training events of each catalog row; 0 for an item never seen in training. Where rows bring
    their own histories these are the training rows' candidates, and nothing of the histories. Where the data have
    kinds of events, positive ones alone."""
    user_counts: np.ndarray
    """[U] int64 training events of each user, the same ones."""
    label_mean: float
    label_min: float
    label_max: float
    """Mean and range of the training labels (stars, clicks); 0, 0, 1 where the task has none."""
    liked_above: float
    """Feedback above this number counts as liked."""
    label_values: Sequence[float] = ()
    """All different training labels, ascending, where there are at most `MOST_VALUES`; empty otherwise."""
    item_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """For each column that `TaskHead.item_columns` names, [N, F] float32 unit vectors whose dot product says how
    similar two items are; 0 where the column is empty."""
    events: TrainingEvents | None = None
    """The training rows themselves, for heads that fit something to all of them at once (`Head.refresh`). Not kept in
    the run folder: None where a head is rebuilt from one."""

    def items_with_rows(self) -> np.ndarray:
        """[N] bool items that training rows are about: more than `item_counts` knows, where rows are shown or disliked.
        Not so where a head is rebuilt, so what a head makes of it belongs among its persistent buffers."""
        known: np.ndarray = np.asarray(self.item_counts) > 0
        if self.events is not None:
            known[self.events.item] = True
        return known


def statistics_of(
    interactions: Interactions, label: str | None, catalog_size: int, liked_above: float | None = None
) -> Statistics:
    """Count the training rows.

    `label` is the column that is predicted. `liked_above` defaults to the middle of the range that the
    histories' feedback has in training (rating, else click; the label where there is neither), and to 0.5
    where it has no range. Raises DataError if it is given, but nothing it could be compared with is.
    """
    train = interactions.rows(Part.TRAIN)
    labels = interactions.column(label)[train] if label is not None else np.empty(0)
    if liked_above is None:
        feedback = _feedback(interactions, train)
        liked_above = _middle(feedback if len(feedback) else labels)
    elif not any(interactions.has(name) for name in _feedback_columns(interactions)):
        columns = " or ".join(_feedback_columns(interactions))
        raise DataError(
            f"data.liked_above={liked_above:g} does nothing here: no column says what users thought of the items of "
            f"their histories ({columns}). Leave it out, or name it under data.columns."
        )
    values = np.unique(labels).tolist()
    chosen = train if interactions.use is None else train[interactions.use.kinds.meaning[train] == Meaning.POSITIVE]
    return Statistics(
        item_counts=np.bincount(interactions.item[chosen], minlength=catalog_size),
        user_counts=np.bincount(interactions.user[chosen], minlength=len(interactions.user_ids)),
        label_mean=float(labels.mean()) if len(labels) else 0.0,
        label_min=float(labels.min()) if len(labels) else 0.0,
        label_max=float(labels.max()) if len(labels) else 1.0,
        liked_above=liked_above,
        label_values=values if len(values) <= Statistics.MOST_VALUES else (),
        events=TrainingEvents(
            train,
            interactions.user[train],
            interactions.item[train],
            labels,
            interactions.column(WEIGHT)[train] if interactions.has(WEIGHT) else np.ones(len(train)),
        ),
    )


def _feedback_columns(interactions: Interactions) -> tuple[str, ...]:
    """Columns that may hold the histories' feedback."""
    return (HISTORY_FEEDBACK,) if interactions.has(HISTORY) else (RATING, CLICK)


def _feedback(interactions: Interactions, train: np.ndarray) -> np.ndarray:
    """[n] what histories show as feedback, as far as training rows go."""
    if interactions.has(HISTORY):
        if not interactions.has(HISTORY_FEEDBACK):
            return np.empty(0)
        lists = interactions.table.data.column(HISTORY_FEEDBACK).take(train).combine_chunks()
        values: np.ndarray = lists.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values[~np.isnan(values)])
    column = feedback_column(interactions)
    return np.empty(0) if column is None else interactions.column(column)[train]


def _middle(values: np.ndarray) -> float:
    """The middle of the range; 0.5 for numbers that are all the same, which would otherwise count as not liked."""
    if not len(values) or values.min() == values.max():
        return 0.5
    return float(values.min() + values.max()) / 2

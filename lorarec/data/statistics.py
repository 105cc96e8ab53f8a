"""Statistics of the training rows, which heads and baselines start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from lorarec.data.columns import CLICK, HISTORY, HISTORY_FEEDBACK, RATING, WEIGHT
from lorarec.data.events import Meaning
from lorarec.data.history import feedback_column
from lorarec.data.interactions import Interactions, Part
from lorarec.errors import DataError


@dataclass(frozen=True)
class TrainingEvents:
    """The training rows, in table order. Each column is made when it is first used: most heads use none."""

    interactions: Interactions
    label_column: str | None

    @cached_property
    def rows(self) -> np.ndarray:
        """[n] int64 rows in the interactions, ascending."""
        rows: np.ndarray = self.interactions.rows(Part.TRAIN)
        return rows

    @cached_property
    def user(self) -> np.ndarray:
        """[n] int64"""
        return np.asarray(self.interactions.user[self.rows])

    @cached_property
    def item(self) -> np.ndarray:
        """[n] int64 catalog rows."""
        return np.asarray(self.interactions.item[self.rows])

    @cached_property
    def label(self) -> np.ndarray:
        """[n] float64 labels to predict; empty where the head derives them."""
        return (
            np.empty(0)
            if self.label_column is None
            else np.asarray(self.interactions.column(self.label_column)[self.rows])
        )

    @cached_property
    def weight(self) -> np.ndarray:
        """[n] float64 weight of each row; 1 where the data have no weights."""
        if not self.interactions.has(WEIGHT):
            return np.ones(len(self.rows))
        return np.asarray(self.interactions.column(WEIGHT)[self.rows])


@dataclass(frozen=True)
class Statistics:
    """Statistics of the training rows, which heads start from. Kept in the run folder, to rebuild the head."""

    MOST_VALUES: ClassVar[int] = 100
    item_counts: np.ndarray
    """[N] int64 training events of each catalog row; 0 for an item without any. Where rows have their own
    histories, these are the training rows' candidates, without the items of histories. Where the data have kinds of
    events, only positive ones."""
    user_counts: np.ndarray
    """[U] int64 training events of each user, counted in the same way."""
    label_mean: float
    label_min: float
    label_max: float
    """Mean and range of the training labels (stars, clicks); 0, 0, 1 where the task has none."""
    liked_above: float
    """Feedback above this number counts as liked."""
    liked_feedback: float | None = None
    """The mean of the training feedback that counts as liked: what the items of a request's history without feedback
    are read with. None where the histories of training have no feedback."""
    label_levels: Sequence[float] = ()
    """All distinct training labels, ascending, where there are at most `MOST_VALUES`; empty otherwise."""
    item_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """For each column that `TaskHead.item_columns` names, [N, F] float32 unit vectors whose dot product is the
    similarity of two items; 0 where the column is empty."""
    events: TrainingEvents | None = None
    """The training rows themselves, for heads that are fitted to all of them at once (`Head.refresh`). Not kept in the
    run folder: None where a head is rebuilt from one."""

    def items_with_rows(self) -> np.ndarray:
        """[N] bool items of training rows: also those of shown or disliked rows, which `item_counts` does not count.
        These are missing where a head is rebuilt, so a head must keep what it derives from them in persistent buffers.
        """
        has_rows: np.ndarray = np.asarray(self.item_counts) > 0
        if self.events is not None:
            interactions = self.events.interactions
            has_rows[interactions.item[interactions.part == Part.TRAIN]] = True
        return has_rows


def statistics_of(
    interactions: Interactions, label: str | None, catalog_size: int, liked_above: float | None = None
) -> Statistics:
    """Count the training rows.

    `label` is the column that is predicted. `liked_above` defaults to the middle of the range that the
    histories' feedback has in training (rating, else click; the label where there is neither), and to 0.5
    where it has no range. Raises DataError if it is set, but no feedback is in the data.
    """
    train = interactions.rows(Part.TRAIN)
    labels = interactions.column(label)[train] if label is not None else np.empty(0)
    feedback = _feedback(interactions, train)
    if liked_above is None:
        liked_above = _middle(feedback if len(feedback) else labels)
    elif not any(interactions.has(name) for name in _feedback_columns(interactions)):
        columns = " or ".join(_feedback_columns(interactions))
        raise DataError(
            f"data.liked_above={liked_above:g} does nothing here: no column holds the feedback of users on the items "
            f"of their histories ({columns}). Leave it out, or name it under data.columns."
        )
    values = np.unique(labels)
    chosen = train if interactions.use is None else train[interactions.use.kinds.meaning[train] == Meaning.POSITIVE]
    return Statistics(
        item_counts=np.bincount(interactions.item[chosen], minlength=catalog_size),
        user_counts=np.bincount(interactions.user[chosen], minlength=len(interactions.user_ids)),
        label_mean=float(labels.mean()) if len(labels) else 0.0,
        label_min=float(labels.min()) if len(labels) else 0.0,
        label_max=float(labels.max()) if len(labels) else 1.0,
        liked_above=liked_above,
        liked_feedback=float(feedback[feedback > liked_above].mean()) if (feedback > liked_above).any() else None,
        label_levels=values.tolist() if len(values) <= Statistics.MOST_VALUES else (),
        events=TrainingEvents(interactions, label),
    )


def _feedback_columns(interactions: Interactions) -> tuple[str, ...]:
    """Columns that may hold the histories' feedback."""
    return (HISTORY_FEEDBACK,) if interactions.has(HISTORY) else (RATING, CLICK)


def _feedback(interactions: Interactions, train: np.ndarray) -> np.ndarray:
    """[n] the feedback in the histories of training rows."""
    if interactions.has(HISTORY):
        if not interactions.has(HISTORY_FEEDBACK):
            return np.empty(0)
        values, offsets = interactions.lists(HISTORY_FEEDBACK)
        values = values[np.repeat(interactions.part == Part.TRAIN, np.diff(offsets))]
        return np.asarray(values[~np.isnan(values)])
    column = feedback_column(interactions)
    return np.empty(0) if column is None else interactions.column(column)[train]


def _middle(values: np.ndarray) -> float:
    """The middle of the range; 0.5 for a constant, which would otherwise count as not liked."""
    if not len(values) or values.min() == values.max():
        return 0.5
    return float(values.min() + values.max()) / 2

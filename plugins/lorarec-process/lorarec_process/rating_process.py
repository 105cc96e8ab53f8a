"""RatingProcess: how many stars a user will give an item, from its text and all other ratings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, model_validator

from lorarec.contracts import (
    Batch,
    Collation,
    DataError,
    Histories,
    Interactions,
    Loss,
    PairPredictor,
    Part,
    Rows,
    Statistics,
    StrictConfig,
    Takes,
    TaskHead,
    event_examples,
    moved,
    named,
    pair_batch,
)
from lorarec_process.process_network import ProcessNetwork

FOLD_SEED = 0
"""Seed of the assignment of rows to folds."""


class RatingProcess(TaskHead):
    """Regression on stars by one Gaussian process over all pairs of a user and an item.

    Two pairs have similar stars if they share the user and their items are similar, if they share the item and their
    users are similar, or if both are similar (Basilico and Hofmann, ICML 2004). Items are compared by their texts, by
    columns of the item table and by who rated them; users by what they rated. This kernel covers what other models call
    the biases of users and items (the constant part of a user's or an item's weights) and their factors (the rest);
    they are solved for, not learned, by conjugate gradients, at a cost linear in the number of stars. The prediction is
    the posterior mean (Rasmussen and Williams 2006, eq. 2.25): for a user, new or known, it follows from the history
    alone; for an item without stars, from its text and columns.

    The variances of the parts of the kernel, about a dozen, are learned, and through the texts the adapter. The
    training stars are split into folds; one optimizer step predicts one fold from the others, and the gradient of the
    loss is that of the solution (ibid., section 5.4.2). The solution is one of least squares; the loss measures the
    predictions. A row of weight w has its noise divided by w in the solution, and its loss multiplied by w; at
    prediction, all stars of a history have the same weight. Only training rows enter the process. Who rated what
    includes the predicted fold, but not its stars.

    A step reads the text of every item that has training stars (once, where the adapter trains nothing): memory and
    time grow with them. The head `rating_ridge` reads only those of a batch, and suits very large catalogs.
    """

    name = "rating_process"
    summary = "stars, by a Gaussian process over all users and items; the most accurate where they fit in memory"
    paper = "Basilico and Hofmann, Unifying Collaborative and Content-Based Filtering, ICML 2004"
    predictor = PairPredictor
    default_metrics = ("rmse", "mae")

    class Config(StrictConfig):
        """Settings of the rating process."""

        renamed: ClassVar = {"parts": "folds"}
        folds: Annotated[int, Field(ge=2)] = 8
        """Number of folds of the training stars; each is predicted from the others. One fold is one
        example: `train.batch_size` counts folds, and 1 gives the most optimizer steps."""
        item_columns: tuple[str, ...] = ()
        """Columns of the item table (numbers, words, lists of words) by which items are compared, in addition to
        their text."""
        max_history: Annotated[int, Field(ge=1)] = 1000
        """Number of latest events of a user that are read at prediction. Training reads all."""
        loss: Annotated[Loss, Takes("regression")] = named("mse")
        """The loss of predicted stars: mse, huber, ordinal, or any other loss of regression."""

        @model_validator(mode="before")
        @classmethod
        def _moved(cls, values: Any) -> Any:
            return moved(values, {"huber_delta": (1.0, "loss: {name: huber, delta: ...}")})

    config: Config

    def needs(self) -> frozenset[str]:
        """Ratings."""
        return frozenset({"rating"})

    def item_columns(self) -> tuple[str, ...]:
        """Those of the recipe."""
        return self.config.item_columns

    def label(self) -> str:
        """The stars."""
        return "rating"

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError if all labels are equal, or if the loss cannot use them."""
        super().check_labels(labels, rows)
        self.config.loss.check_labels(labels, rows)

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One rating per row; in training, one fold of the ratings per row. Raises DataError if the training rows have
        their own histories, which would have no effect."""
        if part == Part.TRAIN:
            if interactions.has("history"):
                raise DataError(
                    "head=rating_process learns from the other rows of each user, but the rows have their own "
                    "histories. Use head=rating, or leave data.columns.history out."
                )
            return _fold_examples(interactions, self.config.folds)
        return event_examples(interactions, part, self.label())

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """In training, all items with stars as views, and the fold of each of T targets. Else the distinct items as
        views, as `pair_batch` returns them."""
        if collation.training:
            return self._folds(rows, collation)
        return pair_batch(rows, collation, self.config.max_history)

    def _folds(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        folds = [np.asarray(events, np.int64) for events in rows["events"]]
        events = np.concatenate(folds)
        items = np.unique(collation.interactions.item[collation.interactions.rows(Part.TRAIN)])
        tensors = {
            "items": torch.from_numpy(items),
            "targets": torch.from_numpy(events),
            "fold": torch.from_numpy(np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])),
        }
        views = {"items": collation.item_views(items)}
        return Batch(torch.from_numpy(rows["row"]), len(events), views, tensors, events=events)

    def build(self, hidden_size: int, statistics: Statistics) -> ProcessNetwork:
        """A network whose variances start at values that were learned on other data."""
        loss = self.config.loss.module(statistics)
        return ProcessNetwork(hidden_size, statistics, loss, self.config.item_columns)


def _fold_examples(interactions: Interactions, folds: int) -> Dataset:
    """The training events in random folds, one fold per row; the same folds at every call.

    Columns: `events` (list, ascending) and `event`, the first of them.
    """
    rows = np.random.default_rng(FOLD_SEED).permutation(interactions.rows(Part.TRAIN))
    events = [np.sort(rows[number::folds]) for number in range(min(folds, len(rows)))]
    return Dataset.from_dict({"event": [fold[0] for fold in events], "events": events})

"""RatingProcess: how many stars a user will give an item, from its text and from who gave what to which others."""

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

DEALING = 0
"""Seed of which row is dealt into which fold."""


class RatingProcess(TaskHead):
    """Regression on stars by one Gaussian process over all pairs of a user and an item.

    Two pairs have similar stars if they share the user and their items are similar, if they share the item and their
    users are similar, or if both are similar (Basilico and Hofmann, ICML 2004). Items are compared by their texts, by
    columns of the item table and by who rated them; users by what they rated. In that kernel lie what other models call
    the biases of users and items (the constant part of what a user, or an item, has for itself) and their factors (the
    rest); they are solved for, not learned, by conjugate gradients, which the sum over pairs keeps linear in the number
    of stars. The answer is the posterior mean (Rasmussen and Williams 2006, eq. 2.25): for a user, new or known, it
    follows from the history alone; for an item without stars, from its text and columns.

    Learned are the variances of the parts of the kernel, about a dozen, and through the texts the adapter. The
    training stars are dealt into folds; one optimizer step predicts one fold from the others, and the gradient of the
    loss is that of the solution (ibid., section 5.4.2). The solution is one of least squares; the loss decides how the
    predictions are judged. A row of weight w has its noise divided by w in the solution, and its loss multiplied by it;
    the stars of a history, by which a user is answered, count the same. Only training rows ever enter the process. Who
    rated what counts the predicted fold, too, but not its stars.

    A step reads the text of every item that has training stars (once, where the adapter trains nothing): memory and
    time grow with them. The head `rating_ridge` reads those of a batch only, and is the one for very many items.
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
        """The training stars are dealt into so many folds, each of which is predicted from the others. One fold is one
        example: `train.batch_size` counts folds, and 1 gives the most optimizer steps."""
        item_columns: tuple[str, ...] = ()
        """Columns of the item table (numbers, words, lists of words) by which items are compared, beside their text."""
        max_history: Annotated[int, Field(ge=1)] = 1000
        """The latest events of a user that are looked at to answer. Training looks at all."""
        loss: Annotated[Loss, Takes("regression")] = named("mse")
        """How the stars expected are judged: mse, huber, ordinal, or any other loss of regression."""

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

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError if all labels are the same number, or such as the loss cannot learn by."""
        super().check_labels(labels, rows)
        self.config.loss.check_labels(labels, rows)

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One rating a row; in training, one fold of the ratings a row. Raises DataError if the rows of training bring
        their own histories, which would say nothing here."""
        if part == Part.TRAIN:
            if interactions.has("history"):
                raise DataError(
                    "head=rating_process learns from the other rows of each user, but the rows bring their own "
                    "histories. Use head=rating, or leave data.columns.history out."
                )
            return _dealt(interactions, self.config.folds)
        return event_examples(interactions, part, self.label())

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """In training, all items with stars as views, and which T targets belong to which fold. Else the distinct items
        as views, as `pair_batch` gives them."""
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
        """A network whose variances start where other data had them."""
        loss = self.config.loss.build(statistics)
        return ProcessNetwork(hidden_size, statistics, loss, self.config.item_columns)


def _dealt(interactions: Interactions, folds: int) -> Dataset:
    """The training events, dealt at random into so many folds, a fold a row; the same ones whenever it is asked.

    Columns: `events` (list, ascending) and `event`, the first of them.
    """
    rows = np.random.default_rng(DEALING).permutation(interactions.rows(Part.TRAIN))
    dealt = [np.sort(rows[number::folds]) for number in range(min(folds, len(rows)))]
    return Dataset.from_dict({"event": [events[0] for events in dealt], "events": dealt})

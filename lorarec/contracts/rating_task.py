"""RatingTask: a regression on ratings; a subclass only defines the network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from datasets import Dataset
from pydantic import Field, model_validator

from lorarec.config.strict import StrictConfig
from lorarec.contracts.batch import Batch, Collation
from lorarec.contracts.loss import Loss, Takes, moved, named
from lorarec.contracts.pair_batch import event_examples, pair_batch
from lorarec.contracts.pair_predictor import PairPredictor
from lorarec.contracts.task_head import TaskHead
from lorarec.data.file_rows import Rows
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part


class RatingSettings(StrictConfig):
    """Settings of every regression on ratings: which part of a history is read, and the loss."""

    renamed: ClassVar = {"facts_per_example": "targets_per_example"}
    encoding: Literal["separate", "joint"] = "separate"
    """separate: each item's text is encoded once per batch and compared with those of the history. joint: the history
    and the candidate are read as one text."""
    max_history: Annotated[int, Field(ge=1)] = 50
    """Number of latest events of the user that are read."""
    training_history: Annotated[int | None, Field(ge=1)] = None
    """Number of latest events that are read in training, `max_history` by default. Fewer cost much less, and the
    learned similarity of items holds for histories of any length."""
    targets_per_example: Annotated[int, Field(ge=1)] = 1
    """Number of ratings of one user in an example: they share a history, so that fewer texts are encoded.
    `train.batch_size` counts these groups."""
    loss: Annotated[Loss, Takes("regression")] = named("mse")
    """Loss of predicted stars: mse, huber, ordinal, or any other regression loss."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return moved(values, {"huber_delta": (1.0, "loss: {name: huber, delta: ...}")})


class RatingTask(TaskHead):
    """How many stars a user will give an item, from its text and from the user's earlier ratings. Subclass it and
    define `build`, which returns a `PairHead`; additional settings go into `class Config(RatingTask.Config)`.

    Targets are ratings, batches those of `pair_batch`.
    """

    predictor = PairPredictor
    default_metrics = ("rmse", "mae")

    class Config(RatingSettings):
        """Settings of every regression on ratings."""

    config: Config

    def needs(self) -> frozenset[str]:
        """Ratings."""
        return frozenset({"rating"})

    def label(self) -> str:
        """The stars."""
        return "rating"

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError if all labels are the same number, or not valid for the loss."""
        super().check_labels(labels, rows)
        self.config.loss.check_labels(labels, rows)

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One rating per row; in training, `targets_per_example` ratings of one user per row."""
        group = self.config.targets_per_example if part == Part.TRAIN else 1
        return event_examples(interactions, part, self.label(), group)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """The batch of `pair_batch`, whose histories may be shorter in training."""
        limit = self.config.training_history if collation.training else None
        return pair_batch(rows, collation, limit or self.config.max_history, self.config.encoding)

"""ClickTask: a click-through-rate task; a subclass only defines the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, model_validator

from lorarec.config.strict import StrictConfig
from lorarec.contracts.batch import Batch, Collation
from lorarec.contracts.click_examples import (
    drawn_examples,
    drawn_items,
    pairwise_groups,
    refuse_weights_of_negatives,
    ungrouped,
    with_history_targets,
)
from lorarec.contracts.loss import Loss, Takes, moved, named
from lorarec.contracts.pair_batch import event_examples, pair_batch
from lorarec.contracts.pair_predictor import PairPredictor
from lorarec.contracts.task_head import TaskHead
from lorarec.data.file_rows import Rows
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.errors import DataError

READ = frozenset({"row", "event", "item", "label", "steps_back", "negative_index"})
"""Columns of examples that `pair_batch` reads."""


class ClickSettings(StrictConfig):
    """Settings of every click-through-rate head: what is a click, and which inputs predict it."""

    renamed: ClassVar = {"rivals": "negatives_per_positive"}
    encoding: Literal["separate", "joint"] = "separate"
    """separate: each item's text is encoded once per batch and compared with those of the history. joint: the history
    and the candidate are read as one text."""
    max_history: Annotated[int, Field(ge=1)] = 50
    """Number of latest events of the user that are read."""
    negatives: Annotated[int, Field(ge=0)] = 0
    """0: the data says what was clicked and what was not. Above 0: every event is a click, and this many items that the
    user has not had are drawn as negatives. In training, not had before the event; in validation and test, not had in
    any part, and they are the same in every evaluation."""
    history_targets: bool = False
    """For rows with labeled histories: learn from those events too, each with the events before it as its history."""
    loss: Annotated[Loss, Takes("binary", "ranking")] = named("bce")
    """bce, or another binary loss: predict each click. ranking, or another loss of that shape: predict which item of a
    pairwise group was liked, among `negatives_per_positive` that were not; probabilities are then correct up to a
    shift."""
    negatives_per_positive: Annotated[int, Field(ge=1)] = 1
    """With ranking losses: how many targets that were not liked are compared with each one that was; 1 compares
    pairs."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return moved(values, {"label_smoothing": (0.0, "loss: {name: bce, label_smoothing: ...}")})

    @property
    def compares(self) -> bool:
        """Whether the loss compares the targets of a group."""
        return self.loss.shape == "ranking"

    @model_validator(mode="after")
    def _no_dead_option(self) -> ClickSettings:
        if self.history_targets and self.negatives:
            raise ValueError("history_targets reads labels of histories, and negatives is for data without any")
        if self.idle({"negatives_per_positive": self.compares}):
            raise ValueError(f"negatives_per_positive would do nothing with loss={self.loss.name}")
        if self.negatives and self.negatives_per_positive > self.negatives:
            raise ValueError(
                f"negatives_per_positive={self.negatives_per_positive} would repeat the {self.negatives} that "
                "`negatives` draws: lower it"
            )
        return self


class ClickTask(TaskHead):
    """The probability that a user will like, click or choose an item. Subclass it and define `build`, which returns a
    `PairHead`; additional settings go into `class Config(ClickTask.Config)`.

    Targets are the clicks of the data, or events and drawn negatives (`negatives`); with `history_targets` also the
    labeled events of training histories. Batches are those of `pair_batch`. With losses of the shape "ranking", whose
    targets are groups, a batch of T targets has T (1 + R) candidates and labels, group by group with the liked item
    first. Numeric columns that a subclass adds to the training examples become float32 tensors of the same names.
    """

    predictor = PairPredictor
    default_metrics = ("auc", "log_loss")

    class Config(ClickSettings):
        """Settings of every click-through-rate head."""

    config: Config

    def needs(self) -> frozenset[str]:
        """Clicks, unless negatives are drawn."""
        return frozenset() if self.config.negatives else frozenset({"click"})

    def reads_feedback(self, views: bool) -> bool:
        """False with drawn negatives: histories then contain chosen items only."""
        return not self.config.negatives and (views or self.config.encoding == "separate")

    def label(self) -> str:
        """Clicks: those of the data, or made by drawing negatives."""
        return "click"

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError naming the first row whose click is neither 0 nor 1, or if all are the same."""
        wrong = np.flatnonzero((labels != 0) & (labels != 1))
        if len(wrong):
            raise DataError(
                f"Row {rows.name(int(wrong[0]))}, 'click': {labels[wrong[0]]:g} is neither 0 nor 1 "
                f"({len(wrong)} such rows). Give clicks as 0 and 1; for stars use head 'rating'."
            )
        if len(labels) > 1 and np.all(labels == labels[0]):
            raise DataError(
                f"All {len(labels)} values of 'click' are {labels[0]:g}: there is nothing to learn. If the data "
                "contains only clicks, leave out data.columns.click and set head.negatives=4."
            )

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One target per row: an event; with `negatives` also each drawn negative (column `negative_index`); in
        training with `history_targets` also events of the histories (column `steps_back`). With ranking losses, one
        group per row."""
        single = self._single_examples(interactions, histories, part)
        if part != Part.TRAIN or not len(single) or not self.config.compares:
            return single
        events = np.asarray(single.with_format("numpy")["event"])
        if self.config.negatives:
            return pairwise_groups(single, events, self.config.negatives_per_positive)
        refuse_weights_of_negatives(single, interactions)
        return pairwise_groups(single, interactions.user[events], self.config.negatives_per_positive)

    def _single_examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        if not self.config.negatives:
            own = event_examples(interactions, part, "click")
            if self.config.history_targets and part == Part.TRAIN:
                return with_history_targets(own, interactions, histories, self.config.max_history)
            return own
        if interactions.has("click"):
            raise DataError(
                "head.negatives draws items that were not clicked, but the data already has them in the column "
                "'click'. Set head.negatives=0, or leave out data.columns.click and the rows without a click."
            )
        return drawn_examples(interactions, part, self.config.negatives)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """The batch of `pair_batch`, with the columns that a subclass has added to the examples."""
        config, targets = self.config, rows["event"]  # the event of a group is that of the liked item
        if collation.training and config.compares:
            rows = ungrouped(rows, config.negatives_per_positive)
        skipped = rows["steps_back"] + 1 if "steps_back" in rows else None
        candidates = self.items(rows, collation)
        batch = pair_batch(rows, collation, config.max_history, config.encoding, candidates, skipped)
        if collation.training:
            added = {name: torch.from_numpy(rows[name].astype(np.float32)) for name in rows.keys() - READ}
            batch = replace(batch, tensors=batch.tensors | added)
        return replace(batch, count=len(targets), events=targets)

    def items(self, rows: dict[str, np.ndarray], collation: Collation) -> np.ndarray:
        """The event's item, that of the column `item`, or a drawn negative."""
        chosen = super().items(rows, collation)
        return drawn_items(rows, chosen, self.config.negatives, collation) if "negative_index" in rows else chosen

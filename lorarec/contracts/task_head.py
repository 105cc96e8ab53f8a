"""TaskHead and Head: what is predicted, from what, under which loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from lorarec.contracts.batch import Batch, Collation
from lorarec.contracts.plugin import Plugin
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.statistics import Statistics

if TYPE_CHECKING:
    from datasets import Dataset


class Encoder(Protocol):
    """Handed to a head's forward: encodes the batch's views through the adapted backbone."""

    def __call__(self, views: str) -> Tensor:
        """[V, D] float32 vectors of `batch.views[views]`, in the order they were given to `collate`."""

    def steps(self, views: str) -> Tensor | None:
        """[V, L, D] the state after each event of the histories, right-aligned, where the backbone has it."""


class HeadOutput(NamedTuple):
    """A NamedTuple, so that Accelerate casts it back to float32."""

    loss: Tensor
    """[] summed over the batch's `count` supervised facts."""
    scores: Tensor
    """[B] for pointwise heads; empty for retrieval heads."""


class Head(nn.Module, ABC):
    """The weights of a task, in float32; owns the loss. Subclass PointwiseHead or RetrievalHead."""

    @abstractmethod
    def forward(self, encode: Encoder, batch: Batch) -> HeadOutput:
        """Loss and scores of a training batch."""

    def refresh(self, pooled: Tensor) -> None:
        """Called without gradient when the weights have changed and predictions are to be made: before each
        evaluation, and once at the end of training. `pooled` [N, D]: the backbone's vectors of the whole catalogue.

        For what follows from the weights and the training rows (`Statistics.events`) in closed form: kept in persistent
        buffers, it goes into the run folder. Every process calls it with the same numbers and must find the same. Not
        called for heads that view no item alone, nor on a loaded run.
        """


class PointwiseHead(Head):
    """Scores a (history, item) pair: rating, click-through rate."""

    @abstractmethod
    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] predictions in the unit of the label (stars; probability). Reads no label."""


class RetrievalHead(Head):
    """Compares vectors: the score of item n for user b is the dot product of their vectors."""

    @abstractmethod
    def user_vectors(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B, d] vectors of the batch's users at the moment of their example. Reads no label."""

    @abstractmethod
    def item_vectors(self, pooled: Tensor, items: Tensor) -> Tensor:
        """[M, d] from the backbone's vectors [M, D] of catalogue rows [M]. A bias is one more dimension."""

    def likeness_vectors(self, vectors: Tensor) -> Tensor:
        """[M, e] of item vectors [M, d] what tells how alike items are: override it to leave a bias out."""
        return vectors


class TaskHead(Plugin):
    """The task: plain, picklable, without weights."""

    kind: ClassVar[Literal["pointwise", "retrieval"]]
    default_metrics: ClassVar[tuple[str, ...]]
    uses_users: bool = False
    """Whether the head has weights a user: the run folder then keeps the users' ids."""

    def needs(self) -> frozenset[str]:
        """Columns of the interactions this task cannot do without: "rating", "click", "time"."""
        return frozenset()

    def reads_feedback(self, views: bool) -> bool:
        """Whether the head, with these settings, tells liked events of a history from disliked ones, so that these may
        stand in histories at all; else they never do. `views`: whether the backbone writes `View.liked`."""
        return False

    def item_columns(self) -> tuple[str, ...]:
        """Columns of the item table by which the head compares items, beside their text: numbers, words, lists of
        words. They come as `Statistics.item_features`."""
        return ()

    def label(self) -> str | None:
        """What is predicted, by the name of its column ("rating", "click"), or None where the item itself is.

        The data must have the column if it is among `needs`; else the head makes the labels (sampled negatives).
        """
        return None

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError naming the row if a label is out of the task's range. NaN and infinity never get here."""

    @abstractmethod
    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One row, one supervised fact (or one stretch of a sequence). The column `event` is the row in
        `interactions` that the example is about; its user and history follow from it. Pointwise heads give the column
        `label` as well (float, what metrics judge scores by), and `item` (catalogue row) where it is not the event's.
        Other columns are the head's.

        Requests of a finished run come here too, as Part.TEST: a table without rating, click or time. There is no
        `label` then, and pointwise heads make one example a row, in order.
        """

    @abstractmethod
    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """A batch of examples: columns as arrays [B], `row` (the example's number) among them."""

    def items(self, rows: dict[str, np.ndarray], collation: Collation) -> np.ndarray:
        """[B] int64 the catalogue row that each example asks about: the column `item`, or the event's own item.

        Baselines, slices and fingerprints go by it. Override it where `collate` draws items beside the event's.
        """
        asked: np.ndarray = rows.get("item", collation.interactions.item[rows["event"]])
        return asked

    @abstractmethod
    def build(self, hidden_size: int, statistics: Statistics) -> Head:
        """The head's weights, freshly drawn from torch's global generator."""

"""TaskHead and Head: what is predicted, from which inputs, with which loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from lorarec.contracts.batch import Batch, Collation
from lorarec.contracts.plugin import Plugin
from lorarec.data.file_rows import Rows
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.statistics import Statistics
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from lorarec.contracts.predictor import Predictor
    from lorarec.data.requests import Requests


class Encoder(Protocol):
    """Passed to the methods of a head: encodes the batch's views with the adapted backbone.

    V views, in the order in which `collate` made them; `views` is their name in `Batch.views`.
    """

    def vectors(self, views: str) -> Tensor:
        """[V, D] float32, one vector per view."""

    def states(self, views: str) -> Tensor | None:
        """[V, L, D] float32, the hidden state after each event of the histories, right-aligned; None if the backbone
        reads a history as one text."""

    def logits(self, views: str, tokens: Sequence[str]) -> Tensor:
        """[V, K] float32 logits of K given tokens as the next token after the view's text.

        Raises IncompatibleError if the backbone is not a language model, or if a name is not a single token.
        """

    def reference(self) -> AbstractContextManager[None]:
        """Inside the context, all of the above comes from the same backbone without its adapter and without dropout,
        such as for preference losses. No gradient is computed.

        Raises IncompatibleError if the adapter cannot be disabled.
        """


class Head(nn.Module, ABC):
    """The weights of a task, in float32, and its loss. The task's predictor needs further methods: subclass PairHead
    for a PairPredictor, VectorHead for a VectorPredictor."""

    @abstractmethod
    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] float32 loss of each of the batch's `count` targets, not reduced, in the order of `batch.events`.

        The engine multiplies them by the targets' weights, sums them up, and divides by the total weight of the
        optimizer step.
        """

    def regularizer(self, batch: Batch) -> Tensor | None:
        """[] term to add to the weighted sum of a batch's losses, such as an L2 penalty on the weights of its items.

        It must be a sum over the targets (see `batch.total`), so that micro-batches add up to a batch.
        """
        return None

    def refresh(self, pooled: Tensor) -> None:
        """Called without gradient when the weights have changed and predictions follow: before each evaluation, and
        once at the end of training. `pooled` [N, D]: the backbone's vectors of the whole catalog.

        For closed-form solutions from the weights and the training rows (`Statistics.events`): in persistent buffers,
        they are saved in the run folder. Every process calls it with the same inputs and must get the same results.
        Not called for heads without views of single items, nor on a loaded run.
        """


class TaskHead(Plugin):
    """The task: plain, picklable, without weights.

    In addition to `name` and `summary`, it sets `predictor`, the family of its predictions (PairPredictor,
    VectorPredictor, or a new one), and `default_metrics`.
    """

    predictor: ClassVar[type[Predictor]]
    """The family of its predictions: how they are made and evaluated, and how a finished run answers requests."""
    default_metrics: ClassVar[tuple[str, ...]]

    def needs(self) -> frozenset[str]:
        """Columns of the interactions that this task requires: "rating", "click", "time"."""
        return frozenset()

    def reads_feedback(self, views: bool) -> bool:
        """Whether the head, with these settings, distinguishes liked and disliked events of a history; if not,
        histories contain no disliked events. `views`: whether the backbone reads `View.liked`."""
        return False

    def item_columns(self) -> tuple[str, ...]:
        """Columns of the item table that the head uses in addition to the items' texts: numbers, words, lists of words.
        They are passed as `Statistics.item_features`."""
        return ()

    def label(self) -> str | None:
        """The name of the column that is predicted ("rating", "click"), or None if the item itself is.

        The data must have the column if it is among `needs`; else the head makes the labels (drawn negatives).
        """
        return None

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError with the row, `rows.name(index)`, if a label is out of the task's range; by default, if all
        are the same number. Labels are finite."""
        if len(labels) > 1 and np.all(labels == labels[0]):
            label = self.label()
            raise DataError(
                f"All {len(labels)} values of '{label}' are {labels[0]:g} (row {rows.name(0)} is the first): there is "
                f"nothing to learn. Check data.columns.{label}."
            )

    @abstractmethod
    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One supervised target per row (or one segment of a sequence). The column `event` is the example's row in
        `interactions`, which gives its user and history. There is a column `item` (catalog row) if it is not the
        event's item, and `label` (float) if the predictor evaluates by labels. The head may add columns. With
        several processes, only the first one of a machine calls it, so it must not set anything on the head.
        """

    def requests(self, requests: Requests) -> Dataset:
        """The requests to a finished run as rows for `collate`, one per request, in order, without labels. The column
        `event` is the row in `requests.events`, which `collate` gets in place of the interactions. Override it if
        `collate` reads more columns.
        """
        from datasets import Dataset

        # Computing a fingerprint takes longer than answering, and nothing derived from requests is cached.
        return Dataset(pa.table({"event": np.arange(len(requests))}), fingerprint="requests")

    @abstractmethod
    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """A batch of examples from their columns as arrays [B], including `row`, the example numbers."""

    def items(self, rows: dict[str, np.ndarray], collation: Collation) -> np.ndarray:
        """[B] int64 catalog row of each example's item: the column `item`, or the event's item.

        Baselines, slices and fingerprints use it. Override it if `collate` draws negatives.
        """
        items: np.ndarray = rows.get("item", collation.interactions.item[rows["event"]])
        return items

    @abstractmethod
    def build(self, hidden_size: int, statistics: Statistics) -> Head:
        """The head with initial weights, drawn from torch's global generator."""

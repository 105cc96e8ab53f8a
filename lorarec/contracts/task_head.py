"""TaskHead and Head: what is predicted, from what, under which loss."""

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
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.statistics import Statistics
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from lorarec.contracts.predictor import Predictor
    from lorarec.data.requests import Requests


class Encoder(Protocol):
    """Handed to a head's `losses` and answers: encodes the batch's views through the adapted backbone.

    V views, in the order they were given to `collate`; `views` is their name in `Batch.views`.
    """

    def vectors(self, views: str) -> Tensor:
        """[V, D] float32, one vector a view."""

    def states(self, views: str) -> Tensor | None:
        """[V, L, D] float32, the state after each event of the histories, right-aligned; None where the backbone reads
        a history as one text."""

    def logits(self, views: str, tokens: Sequence[str]) -> Tensor:
        """[V, K] float32 logits of K named tokens, each as the one that would follow the view's text.

        Raises IncompatibleError where the backbone is no language model, or a name is not one token of it.
        """

    def reference(self) -> AbstractContextManager[None]:
        """Within, all of the above comes from the same backbone without its adapter and without dropout: for
        preferences, forgetting, explanation. No gradient is kept.

        Raises IncompatibleError where the adapter cannot be switched off.
        """


class Head(nn.Module, ABC):
    """The weights of a task, in float32; owns the loss. The task's predictor says what else they must offer: subclass
    PairHead for a PairPredictor, VectorHead for a VectorPredictor."""

    @abstractmethod
    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] float32 the loss of each of the batch's `count` targets, not reduced, in the order of `batch.events`.

        Each is as if it were alone: the engine multiplies by the targets' weights, adds up, and divides by what the
        whole optimizer step weighs.
        """

    def regularizer(self, batch: Batch) -> Tensor | None:
        """[] what to add to the weighted sum of a batch's losses, such as an L2 penalty on the weights of its items.

        Summed over the targets (`batch.total` does it), so that micro-batches add up to a batch.
        """
        return None

    def refresh(self, pooled: Tensor) -> None:
        """Called without gradient when the weights have changed and predictions are to be made: before each
        evaluation, and once at the end of training. `pooled` [N, D]: the backbone's vectors of the whole catalog.

        For what follows from the weights and the training rows (`Statistics.events`) in closed form: kept in persistent
        buffers, it goes into the run folder. Every process calls it with the same numbers and must find the same. Not
        called for heads that view no item alone, nor on a loaded run.
        """


class TaskHead(Plugin):
    """The task: plain, picklable, without weights.

    Beside `name` and `summary`, it sets `predictor`, the family of its answers (PairPredictor, VectorPredictor, or
    one's own), and `default_metrics`.
    """

    predictor: ClassVar[type[Predictor]]
    """The family of its answers: how they are made and judged, and how a finished run gives them."""
    default_metrics: ClassVar[tuple[str, ...]]

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
        """Raise DataError naming the row if a label is out of the task's range; by default, if all are the same number.
        NaN and infinity never get here."""
        if len(labels) > 1 and np.all(labels == labels[0]):
            label = self.label()
            raise DataError(
                f"All {len(labels)} values of '{label}' are {labels[0]:g} (row {rows[0]} is the first): there is "
                f"nothing to learn. Check data.columns.{label}."
            )

    @abstractmethod
    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One row, one supervised fact (or one stretch of a sequence). The column `event` is the row in
        `interactions` that the example is about; its user and history follow from it. `item` (catalog row) stands
        beside it where it is not the event's, and `label` (float) where the predictor judges by labels. Other columns
        are the head's.
        """

    def requests(self, requests: Requests) -> Dataset:
        """The questions to a finished run as rows for `collate`, one a request, in order, without labels. The column
        `event` is the row in `requests.events`, which `collate` finds in place of the interactions. Override it where
        `collate` reads more columns.
        """
        from datasets import Dataset

        # Working out a fingerprint takes longer than answering; nothing made of requests is cached by it.
        return Dataset(pa.table({"event": np.arange(len(requests))}), fingerprint="requests")

    @abstractmethod
    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """A batch of examples: columns as arrays [B], `row` (the example's number) among them."""

    def items(self, rows: dict[str, np.ndarray], collation: Collation) -> np.ndarray:
        """[B] int64 the catalog row that each example asks about: the column `item`, or the event's own item.

        Baselines, slices and fingerprints go by it. Override it where `collate` draws items beside the event's.
        """
        asked: np.ndarray = rows.get("item", collation.interactions.item[rows["event"]])
        return asked

    @abstractmethod
    def build(self, hidden_size: int, statistics: Statistics) -> Head:
        """The head's weights, freshly drawn from torch's global generator."""

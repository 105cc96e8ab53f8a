"""Predictor: a family of answers; how a model is asked, how its answers are judged, and how a finished run answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from torch import Tensor

from lorarec.contracts.batch import Batch, Examples
from lorarec.contracts.metric import Metric
from lorarec.data.requests import Requests
from lorarec.data.statistics import Statistics
from lorarec.errors import IncompatibleError
from lorarec.prediction.ranking import Candidates

if TYPE_CHECKING:
    from lorarec.contracts.task_head import Head, TaskHead


@dataclass(frozen=True)
class Predictions:
    """What a model, or a baseline, says of n examples."""

    rows: np.ndarray
    """[n] int64 example numbers."""
    answers: Mapping[str, np.ndarray]
    """[n, ...] by the name under which metrics read them (`Predictor.reads`)."""

    def subset(self, inside: np.ndarray) -> Self:
        """These entries only: row numbers, or [n] true for those that are kept."""
        return type(self)(self.rows[inside], {name: values[inside] for name, values in self.answers.items()})

    @classmethod
    def joined(cls, blocks: Sequence[Predictions]) -> Self:
        """All blocks in the order of the examples; an example that stands in several of them is kept once."""
        rows, first = np.unique(np.concatenate([block.rows for block in blocks]), return_index=True)
        names = blocks[0].answers
        return cls(rows, {name: np.concatenate([block.answers[name] for block in blocks])[first] for name in names})


class Judged(NamedTuple):
    """What a metric is given, one entry a row."""

    predictions: np.ndarray
    references: np.ndarray


class Scored(NamedTuple):
    """Scores [n] beside the labels [n] that they predict, in one unit."""

    scores: np.ndarray
    labels: np.ndarray


class Model(Protocol):
    """What a predictor may ask of a model, in eval mode. A method of the head is asked for by its name."""

    def answer(self, batch: Batch, method: str, table: Tensor | None = None) -> Tensor:
        """What the head's `method(encode, batch)` says, such as "score". `table` [N, D], where there is one, stands in
        for encoding the batch's item views."""

    def answer_items(self, table: Tensor, method: str) -> Tensor:
        """[N, ...] what the head's `method(pooled, items)`, such as "item_vectors", makes of the item table [N, D]."""


class FinishedRun(Protocol):
    """What a predictor may ask of a finished run."""

    @property
    def weights(self) -> Head:
        """The head's, in eval mode."""

    @property
    def item_vectors(self) -> Tensor | None:
        """[N, d] where the predictor makes such; None otherwise."""

    def answers(self, requests: Requests, method: str, size: int) -> Tensor:
        """What the head's `method(encode, batch)` says of the requests, `size` of them in a batch."""


class Predictor(ABC):
    """A family of answers. A task head names its class (`TaskHead.predictor`); the core asks nothing else of what kind
    a head is. One is made for a head wherever it is needed: it holds no weights and no results, but may keep what it
    has made of one run, such as an index.

    Judging needs `predict`, `judged`, `rules`, `asked` and `kept`; answering needs `answer`, and `recommend` where
    items can be ranked. The other methods say no unless overridden.
    """

    reads: ClassVar[tuple[str, ...]]
    """Names of what metrics may read: a metric fits if its `reads` is among them."""
    has_item_vectors: ClassVar[bool] = False
    """Whether answers come from vectors of items, made of the item table by `item_vectors` and kept in a run folder."""
    compares_texts: ClassVar[bool] = False
    """Whether `baselines` looks at items as the backbone reads them before training."""
    column: ClassVar[str] = "score"
    """What files of answers call the column of `answer`."""

    def __init__(self, head: TaskHead) -> None:
        self.head = head

    # Judging: held-out examples, their metrics, and what stands beside these.

    @abstractmethod
    def predict(
        self,
        model: Model,
        examples: Examples,
        blocks: Sequence[np.ndarray],
        metrics: Sequence[Metric],
        table: Tensor | None,
    ) -> Iterator[Predictions]:
        """What the model says of each block of example numbers, for metrics such as these.

        `table` [N, D]: the item table, where the examples have views of single items or `has_item_vectors` is set.
        Reads no label.
        """

    @abstractmethod
    def judged(self, metric: Metric, predictions: Predictions, examples: Examples) -> Judged:
        """What a metric that fits is given of these predictions."""

    @abstractmethod
    def rules(self, examples: Examples) -> dict[str, str]:
        """By which rules held-out examples are judged, in words: "judged", "seen items", "ties"."""

    @abstractmethod
    def asked(self, examples: Examples) -> Iterator[bytes]:
        """What is asked of the examples beside their events, items and users: two runs in which it differs are not
        compared."""

    @abstractmethod
    def kept(self, predictions: Predictions, examples: Examples) -> dict[str, np.ndarray]:
        """[n] columns of numbers that a run folder keeps of each test example, so that runs can be compared."""

    @abstractmethod
    def judged_kept(self, metric: Metric, kept: Mapping[str, np.ndarray]) -> Judged:
        """What a metric that `has_interval` is given of what `kept` gave."""

    def has_interval(self, metric: Metric) -> bool:
        """Whether the metric is one of rows that can be drawn again and again, for intervals and for comparing runs."""
        return True

    def baselines(
        self, examples: Examples, metrics: Sequence[Metric], statistics: Statistics, frozen: Tensor | None
    ) -> dict[str, Predictions]:
        """What trivial models say of every example, by their names. `frozen` [N, D]: the items as the backbone reads
        them before training, where `compares_texts` is set and there are texts."""
        return {}

    # Watching: what may go wrong in training without an error.

    def scored(self, predictions: Predictions, examples: Examples) -> Scored | None:
        """Scores beside labels, where answers are such: if all are the same, training has failed."""
        return None

    def tells_apart(self) -> bool:
        """Whether the loss is that of telling a right answer from wrong ones: a loss of nothing is then a warning, as
        is an area under the curve of one half of what `scored` gives."""
        return False

    # Items: the vectors that answers come from.

    def item_vectors(self, model: Model, table: Tensor) -> Tensor | None:
        """[N, d] vectors of the whole catalog, from the item table [N, D]; None where `has_item_vectors` is not
        set."""
        return None

    def likeness(self, weights: Head, table: Tensor, rows: Tensor) -> Tensor:
        """[m, e] vectors that tell how alike the catalog rows [m] are, from theirs in the item table [m, D]."""
        return table

    def run_likeness(self, run: FinishedRun) -> Tensor | None:
        """[N, e] the same of the whole catalog of a finished run; None: its item table."""
        return None

    # Answering: requests to a finished run.

    @abstractmethod
    def answer(self, run: FinishedRun, requests: Requests) -> np.ndarray:
        """[n] the answer to each request about its item."""

    def nothing(self, count: int) -> np.ndarray:
        """[count] what stands in place of answers about items that nobody knows."""
        return np.full(count, np.nan)

    def recommend(
        self, run: FinishedRun, requests: Requests, candidates: Candidates, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Catalog rows [b, k] of the best candidates for each request, best first, -1 for none, and their scores
        [b, k]; some requests at a time, all in order. Raises IncompatibleError where items cannot be ranked."""
        raise IncompatibleError(f"head '{self.head.name}' answers about items by name and ranks none. Use predict.")

    def approximate(
        self, run: FinishedRun, requests: Requests, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The same of the whole catalog, by an index that misses an item now and then. Raises IncompatibleError where
        there is no such thing."""
        raise IncompatibleError(
            f"approximate: head '{self.head.name}' scores each pair of a history and an item by itself and has no item "
            "vectors to search among. Leave approximate out, or name candidates."
        )

    def calibrated(self, predictions: Predictions, calibrate: Callable[[np.ndarray], np.ndarray]) -> Predictions:
        """The predictions, their probabilities as `lorarec calibrate` found them to be meant."""
        return predictions

    # Refusals: commands that make no sense for some families.

    def check_calibration(self) -> None:
        """Raise IncompatibleError where answers are no probabilities."""
        raise IncompatibleError(
            f"head '{self.head.name}' predicts no probabilities of a click: there is nothing to calibrate."
        )

    def check_lists(self) -> None:
        """Raise IncompatibleError where held-out examples are not judged by lists of items."""
        raise IncompatibleError(
            f"head '{self.head.name}' is not judged by lists. Leave --diversify out here; "
            "`lorarec recommend --diversify` diversifies its lists, too."
        )

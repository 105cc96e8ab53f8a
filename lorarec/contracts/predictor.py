"""Predictor: a family of predictions; how models make them, how they are evaluated, how finished runs give them."""

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
    """Predictions of a model, or a baseline, for n examples."""

    rows: np.ndarray
    """[n] int64 example numbers."""
    answers: Mapping[str, np.ndarray]
    """[n, ...] by the names that metrics read (`Predictor.reads`)."""

    def subset(self, inside: np.ndarray) -> Self:
        """A subset of the entries: indices, or a mask [n]."""
        return type(self)(self.rows[inside], {name: values[inside] for name, values in self.answers.items()})

    @classmethod
    def joined(cls, blocks: Sequence[Predictions]) -> Self:
        """All blocks in the order of the examples; an example that is in several of them is kept once."""
        rows, first = np.unique(np.concatenate([block.rows for block in blocks]), return_index=True)
        names = blocks[0].answers
        return cls(rows, {name: np.concatenate([block.answers[name] for block in blocks])[first] for name in names})


class MetricInputs(NamedTuple):
    """The arguments of a metric, one entry per row."""

    predictions: np.ndarray
    references: np.ndarray


class Scored(NamedTuple):
    """Scores [n] and the labels [n] that they predict, in the same unit."""

    scores: np.ndarray
    labels: np.ndarray


class Model(Protocol):
    """The interface of a model to a predictor, in eval mode. Methods of the head are called by name."""

    def answer(self, batch: Batch, method: str, table: Tensor | None = None) -> Tensor:
        """The result of the head's `method(encode, batch)`, such as "score". `table` [N, D], if given, replaces
        encoding the batch's item views."""

    def answer_items(self, table: Tensor, method: str) -> Tensor:
        """[N, ...] result of the head's `method(pooled, items)`, such as "item_vectors", for the item table [N, D]."""


class FinishedRun(Protocol):
    """The interface of a finished run to a predictor."""

    @property
    def weights(self) -> Head:
        """The head, in eval mode."""

    @property
    def item_vectors(self) -> Tensor | None:
        """[N, d] if the predictor has item vectors; else None."""

    def answers(self, requests: Requests, method: str, size: int) -> Tensor:
        """The results of the head's `method(encode, batch)` for the requests, in batches of `size`."""


class Predictor(ABC):
    """A family of predictions. A task head names its class (`TaskHead.predictor`); the core depends on nothing else
    about the kind of a head. An instance is created for a head when it is needed: it has no weights and no results,
    but may cache what it computes for one run, such as an index.

    Evaluation needs `predict`, `metric_inputs`, `rules`, `asked` and `kept`; inference needs `answer`, and `recommend`
    if items can be ranked. The other methods refuse or do nothing unless overridden.
    """

    reads: ClassVar[tuple[str, ...]]
    """Names of the predictions that metrics may read: a metric fits if its `reads` is among them."""
    has_item_vectors: ClassVar[bool] = False
    """Whether predictions use item vectors, computed from the item table by `item_vectors` and kept in a run folder."""
    compares_texts: ClassVar[bool] = False
    """Whether `baselines` uses the items' vectors from the untrained backbone."""
    column: ClassVar[str] = "score"
    """Name of the column of `answer` in prediction files."""

    def __init__(self, head: TaskHead) -> None:
        self.head = head

    # Evaluation: held-out examples, their metrics, intervals and baselines.

    @abstractmethod
    def predict(
        self,
        model: Model,
        examples: Examples,
        blocks: Sequence[np.ndarray],
        metrics: Sequence[Metric],
        table: Tensor | None,
    ) -> Iterator[Predictions]:
        """The model's predictions for each block of example numbers, as these metrics need them.

        `table` [N, D]: the item table, if the examples have views of single items or `has_item_vectors` is set. Must
        not read labels.
        """

    @abstractmethod
    def metric_inputs(self, metric: Metric, predictions: Predictions, examples: Examples) -> MetricInputs:
        """The arguments of a metric that fits, from these predictions."""

    @abstractmethod
    def rules(self, examples: Examples) -> dict[str, str]:
        """The evaluation protocol in words, with the keys "evaluated", "seen items" and "ties"."""

    @abstractmethod
    def asked(self, examples: Examples) -> Iterator[bytes]:
        """What the evaluation depends on in addition to the examples' events, items and users: runs in which it differs
        are not compared."""

    @abstractmethod
    def kept(self, predictions: Predictions, examples: Examples) -> dict[str, np.ndarray]:
        """[n] numeric columns that a run folder keeps for the test examples, so that runs can be compared."""

    @abstractmethod
    def stored_metric_inputs(self, metric: Metric, kept: Mapping[str, np.ndarray]) -> MetricInputs:
        """The arguments of a metric that `has_interval`, from the columns of `kept`."""

    def has_interval(self, metric: Metric) -> bool:
        """Whether the metric can be computed on resampled rows, for intervals and for comparing runs."""
        return True

    def baselines(
        self, examples: Examples, metrics: Sequence[Metric], statistics: Statistics, frozen: Tensor | None
    ) -> dict[str, Predictions]:
        """Predictions of trivial models for every example, by name. `frozen` [N, D]: the items' vectors from the
        untrained backbone, if `compares_texts` is set and there are texts."""
        return {}

    def expected(self, metric: Metric, predictions: Predictions, examples: Examples) -> float | None:
        """A baseline's metric as its expected value over a random order of items with equal scores; None, the default:
        ties do not matter to it, or count half already."""
        return None

    def tied(self, predictions: Predictions) -> np.ndarray | None:
        """[n] whether another item has the score of the held-out one, so that its rank is the worst of several; None,
        the default, where items are not ranked."""
        return None

    def repeated(self, examples: Examples) -> np.ndarray | None:
        """[n] whether the held-out item is one that its user had before, so that `evaluate.seen: mask` makes it
        unreachable; None, the default, where items are not ranked."""
        return None

    # Checks for training that fails without an error.

    def scored(self, predictions: Predictions, examples: Examples) -> Scored | None:
        """Scores and labels, if predictions are scores: if all scores are the same, training has failed."""
        return None

    def tells_apart(self) -> bool:
        """Whether the loss is that of a classification: a loss of 0 is then reported with a warning, as is an AUC of
        0.5 of what `scored` gives."""
        return False

    # Item vectors.

    def item_vectors(self, model: Model, table: Tensor) -> Tensor | None:
        """[N, d] vectors of the whole catalog, from the item table [N, D]; None unless `has_item_vectors` is set."""
        return None

    def similarity_vectors(self, weights: Head, table: Tensor, rows: Tensor) -> Tensor:
        """[m, e] vectors for item similarity of the catalog rows [m], from their rows in the item table [m, D]."""
        return table

    def run_similarity_vectors(self, run: FinishedRun) -> Tensor | None:
        """[N, e] the same for the whole catalog of a finished run; None: its item table."""
        return None

    # Inference: requests to a finished run.

    @abstractmethod
    def answer(self, run: FinishedRun, requests: Requests) -> np.ndarray:
        """[n] the prediction for each request and its item."""

    def nothing(self, count: int) -> np.ndarray:
        """[count] placeholders for predictions about unknown items."""
        return np.full(count, np.nan)

    def recommend(
        self, run: FinishedRun, requests: Requests, candidates: Candidates, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Catalog rows [b, k] of the best candidates for each request, best first, -1 for none, and their scores
        [b, k]; in blocks of requests, in order. Raises IncompatibleError if items cannot be ranked."""
        raise IncompatibleError(f"head '{self.head.name}' predicts given items and cannot rank them. Use predict.")

    def approximate(
        self, run: FinishedRun, requests: Requests, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The same for the whole catalog, by an approximate index that may miss items. Raises IncompatibleError if
        there is none."""
        raise IncompatibleError(
            f"approximate: head '{self.head.name}' scores each pair of a history and an item separately and has no "
            "item vectors to search. Leave approximate out, or name candidates."
        )

    def calibrated(self, predictions: Predictions, calibrate: Callable[[np.ndarray], np.ndarray]) -> Predictions:
        """The predictions with probabilities that are calibrated by `calibrate`, see `lorarec calibrate`."""
        return predictions

    # Refusals: commands that do not apply to some families.

    def check_calibration(self) -> None:
        """Raise IncompatibleError unless predictions are probabilities."""
        raise IncompatibleError(
            f"head '{self.head.name}' predicts no probabilities of a click: there is nothing to calibrate."
        )

    def check_lists(self) -> None:
        """Raise IncompatibleError if held-out examples are not evaluated by lists of items."""
        raise IncompatibleError(
            f"head '{self.head.name}' is not evaluated by lists. Leave --diversify out here; "
            "`lorarec recommend --diversify` diversifies its lists, too."
        )

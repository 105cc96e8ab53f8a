"""VectorPredictor: predicts by vectors of users and items, whose dot products rank the whole catalog."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts.batch import Batch, Examples
from lorarec.contracts.metric import Metric, expected_over_ties
from lorarec.contracts.predictor import FinishedRun, MetricInputs, Model, Predictions, Predictor
from lorarec.contracts.task_head import Encoder, Head, TaskHead
from lorarec.data.requests import Requests
from lorarec.data.statistics import Statistics
from lorarec.errors import ArtifactError
from lorarec.prediction.baselines import Asked, rank_baselines
from lorarec.prediction.item_index import ItemIndex
from lorarec.prediction.ranking import Candidates, catalog_scores, held_out_rank, held_out_ties, mask_seen, top_items

BLOCK = 256
"""Number of requests that are answered at once."""
MASKED = "masked: what the user had before is out of the ranking"
KEPT = "kept: what the user had before is ranked like all other items"


class VectorHead(Head):
    """The weights of a task with user and item vectors: the score of item n for user b is their dot product."""

    @abstractmethod
    def user_vectors(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B, d] vectors of the batch's users at the time of their example. Must not read labels."""

    @abstractmethod
    def item_vectors(self, pooled: Tensor, items: Tensor) -> Tensor:
        """[M, d] from the backbone's vectors [M, D] of catalog rows [M]. A bias is an additional dimension."""

    def similarity_vectors(self, vectors: Tensor) -> Tensor:
        """[M, e] vectors for item similarity, from item vectors [M, d]: override it to leave a bias out."""
        return vectors


class VectorPredictor(Predictor):
    """Ranks the catalog by dot products. Its heads are `VectorHead`s."""

    reads = ("ranks", "lists")
    has_item_vectors = True
    compares_texts = True

    def __init__(self, head: TaskHead) -> None:
        super().__init__(head)
        self._index: ItemIndex | None = None
        self._largest: float | None = None
        """The largest number in the run's item vectors."""

    def predict(
        self,
        model: Model,
        examples: Examples,
        blocks: Sequence[np.ndarray],
        metrics: Sequence[Metric],
        table: Tensor | None,
    ) -> Iterator[Predictions]:
        """ranks: [n] int64 zero-based rank of the held-out item; ties: [n] int64 other items of its score; lists:
        [n, k] int64 the best items, if a metric reads them."""
        assert table is not None
        vectors, k = self.item_vectors(model, table), _longest(metrics)
        for rows in blocks:
            users = model.answer(examples.batch(rows), "user_vectors", table).float()
            targets = torch.from_numpy(examples.items[rows]).to(users.device)
            for part, scores in catalog_scores(users, vectors):
                mask_seen(scores, examples.masked(rows[part]))
                ranks, ties = held_out_rank(scores, targets[part]), held_out_ties(scores, targets[part])
                lists = top_items(scores, k)[0] if k else torch.empty(len(ranks), 0, dtype=torch.int64)
                answers = {"ranks": ranks, "ties": ties, "lists": lists}
                yield Predictions(rows[part], {name: answer.cpu().numpy() for name, answer in answers.items()})

    def metric_inputs(self, metric: Metric, predictions: Predictions, examples: Examples) -> MetricInputs:
        """Ranks, or the first k of the lists, and the held-out items."""
        answers, items = predictions.answers[metric.reads], examples.items[predictions.rows]
        return MetricInputs(answers if metric.reads == "ranks" else answers[:, : metric.k], items)

    def has_interval(self, metric: Metric) -> bool:
        """False for metrics of lists (coverage): a sample with repeats always covers less than all rows."""
        return metric.reads == "ranks"

    def rules(self, examples: Examples) -> dict[str, str]:
        """Every held-out item is ranked among the whole catalog."""
        return {
            "evaluated": f"each held-out item among all {examples.collation.catalog_size:,} items of the catalog",
            "seen items": MASKED if examples.seen == "mask" else KEPT,
            "ties": "count against the model",
        }

    def asked(self, examples: Examples) -> Iterator[bytes]:
        """The items that are masked for each example."""
        for rows in examples.blocks(BLOCK):
            for items in examples.masked(rows):
                yield items.astype("<i8").tobytes() + b"|"

    def kept(self, predictions: Predictions, examples: Examples) -> dict[str, np.ndarray]:
        """The column `rank`. No items, for privacy."""
        return {"rank": predictions.answers["ranks"]}

    def stored_metric_inputs(self, metric: Metric, kept: Mapping[str, np.ndarray]) -> MetricInputs:
        """Ranks; which item was held out is not known."""
        return MetricInputs(kept["rank"], np.full(len(kept["rank"]), -1))

    def baselines(
        self, examples: Examples, metrics: Sequence[Metric], statistics: Statistics, frozen: Tensor | None
    ) -> dict[str, Predictions]:
        """Popularity, most recent (if there are times), nearest text (if `frozen` is given)."""
        collation = examples.collation
        asked = Asked(examples.events, examples.items, collation.interactions, collation.histories, examples.seen)
        baselines = rank_baselines(asked, statistics.item_counts, _longest(metrics), frozen)
        return {name: Predictions(np.arange(len(examples)), ranked._asdict()) for name, ranked in baselines.items()}

    def expected(self, metric: Metric, predictions: Predictions, examples: Examples) -> float | None:
        """Of metrics of ranks. Lists break ties by the catalog's order, which is the same for all users."""
        ties, rows = predictions.answers.get("ties"), predictions.rows
        if metric.reads != "ranks" or ties is None:
            return None
        ranks = predictions.answers["ranks"]
        return expected_over_ties(metric, ranks, ties, examples.items[rows], examples.users[rows])

    def tied(self, predictions: Predictions) -> np.ndarray | None:
        """Whether another item has the same dot product."""
        ties = predictions.answers.get("ties")
        return None if ties is None else ties > 0

    def repeated(self, examples: Examples) -> np.ndarray:
        """Whether the item is among those that the user had before."""
        return examples.collation.histories.have_seen(examples.events, examples.items)

    def tells_apart(self) -> bool:
        """True: the item against all others."""
        return True

    def item_vectors(self, model: Model, table: Tensor) -> Tensor:
        """[N, d] float32 vectors of the head."""
        return model.answer_items(table, "item_vectors").float()

    def similarity_vectors(self, weights: Head, table: Tensor, rows: Tensor) -> Tensor:
        """The head's vectors for item similarity."""
        head = cast(VectorHead, weights)
        return head.similarity_vectors(head.item_vectors(table, rows))

    def run_similarity_vectors(self, run: FinishedRun) -> Tensor:
        """The same, from the item vectors that the run keeps."""
        return cast(VectorHead, run.weights).similarity_vectors(_vectors(run))

    def answer(self, run: FinishedRun, requests: Requests) -> np.ndarray:
        """[n] float64 dot products."""
        vectors = _vectors(run)[torch.tensor(requests.events.item)]
        return (self._user_vectors(run, requests) * vectors).sum(dim=1).double().cpu().numpy()

    def recommend(
        self, run: FinishedRun, requests: Requests, candidates: Candidates, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """By the dot products with all candidates."""
        vectors = _vectors(run)
        if not candidates.whole:
            vectors = vectors[torch.from_numpy(candidates.rows)]
        for start in range(0, len(requests), BLOCK):
            block = requests.between(start, start + BLOCK)
            seen = block.history_items() if exclude_seen else None
            for part, scores in catalog_scores(self._user_vectors(run, block), vectors):
                yield candidates.best(scores, k, None if seen is None else seen[part])

    def approximate(
        self, run: FinishedRun, requests: Requests, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """By an index of the item vectors, built at the first call and kept."""
        self._index = self._index or ItemIndex(_vectors(run))
        for start in range(0, len(requests), BLOCK):
            block = requests.between(start, start + BLOCK)
            empty = [np.empty(0, np.int64)] * len(block)
            seen = [np.unique(items) for items in block.history_items()] if exclude_seen else empty
            yield self._index.best(self._user_vectors(run, block), k, seen)

    def check_lists(self) -> None:
        """Lists are evaluated."""

    def _user_vectors(self, run: FinishedRun, requests: Requests) -> Tensor:
        """[n, d]. Raises ArtifactError if the item vectors of the run have another width, or if products with them
        would be infinite."""
        users, items = run.answers(requests, "user_vectors", BLOCK).float(), _vectors(run)
        if users.shape[1] != items.shape[1]:
            raise ArtifactError(
                f"The item vectors of the run have {items.shape[1]} numbers, and the head's users {users.shape[1]}: "
                "item_vectors.safetensors is of another run. Restore the file, or train the run again."
            )
        if self._largest is None:  # a pass over all items
            self._largest = _largest(items)
        if not _largest(users) * self._largest * users.shape[1] < torch.finfo(torch.float32).max:
            raise ArtifactError(
                "The numbers in the vectors of users and items are too large to be multiplied: "
                "item_vectors.safetensors or the head's weights are not those of a trained model. Restore the files, "
                "or train the run again."
            )
        return users


def _longest(metrics: Sequence[Metric]) -> int:
    """The length of the longest list that a metric reads; 0 if none reads lists."""
    return max((metric.k or 0 for metric in metrics if metric.reads == "lists"), default=0)


def _vectors(run: FinishedRun) -> Tensor:
    """[N, d]. Raises ArtifactError if the run keeps none."""
    if run.item_vectors is None:
        raise ArtifactError("The run has no item_vectors.safetensors, which its head needs. Train the run again.")
    return run.item_vectors


def _largest(vectors: Tensor) -> float:
    return float(vectors.abs().max()) if vectors.numel() else 0.0

"""PairPredictor: predicts one number for each pair of a history and an item: stars, the probability of a click."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts.batch import Batch, Examples
from lorarec.contracts.metric import Metric
from lorarec.contracts.predictor import FinishedRun, MetricInputs, Model, Predictions, Predictor, Scored
from lorarec.contracts.task_head import Encoder, Head
from lorarec.data.requests import Requests
from lorarec.data.statistics import Statistics
from lorarec.prediction.baselines import Asked, score_baselines
from lorarec.prediction.ranking import Candidates, users_at_once

BLOCK = 256
"""Number of requests that are answered at once."""
PAIRS = 2**14
"""Number of (request, item) pairs that are scored at once: the few histories among them are read only once."""


class PairHead(Head):
    """The weights of a task that scores each pair separately."""

    @abstractmethod
    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] predictions in the unit of the label (stars; probability). Reads no label."""

    def preference(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] what items are ranked by, ascending with `score`, which is the default. Override it if scores are cut to
        a range: the best items of a generous user would all have the largest one, and their order would be lost."""
        return self.score(encode, batch)


class PairPredictor(Predictor):
    """Scores each pair separately. Its heads are `PairHead`s, its examples have the column `label`."""

    reads = ("scores",)

    def predict(
        self,
        model: Model,
        examples: Examples,
        blocks: Sequence[np.ndarray],
        metrics: Sequence[Metric],
        table: Tensor | None,
    ) -> Iterator[Predictions]:
        """scores: [n] float64."""
        for rows in blocks:
            scores = model.answer(examples.batch(rows), "score", table)
            yield Predictions(rows, {"scores": scores.double().cpu().numpy()})

    def metric_inputs(self, metric: Metric, predictions: Predictions, examples: Examples) -> MetricInputs:
        """Scores and labels."""
        return MetricInputs(*self.scored(predictions, examples))

    def scored(self, predictions: Predictions, examples: Examples) -> Scored:
        """Scores and labels."""
        return Scored(predictions.answers["scores"], examples.labels()[predictions.rows])

    def rules(self, examples: Examples) -> dict[str, str]:
        """Every row is evaluated by its label."""
        label, seed = self.head.label(), examples.collation.negatives.seed
        drawn = (
            f"every held-out row beside items that its user has had in no part, drawn once and for all by seed {seed}"
        )
        return {
            "evaluated": f"every held-out row by its {label}" if label in self.head.needs() else drawn,
            "seen items": "not ranked",
            "ties": "count half in AUC" if label == "click" else "no matter to the metrics of a regression",
        }

    def asked(self, examples: Examples) -> Iterator[bytes]:
        """The labels."""
        yield examples.labels().astype("<f8").tobytes()

    def kept(self, predictions: Predictions, examples: Examples) -> dict[str, np.ndarray]:
        """Columns `score` and `label`."""
        scores, labels = self.scored(predictions, examples)
        return {"score": scores, "label": labels}

    def stored_metric_inputs(self, metric: Metric, kept: Mapping[str, np.ndarray]) -> MetricInputs:
        """Scores and labels."""
        return MetricInputs(kept["score"], kept["label"])

    def baselines(
        self, examples: Examples, metrics: Sequence[Metric], statistics: Statistics, frozen: Tensor | None
    ) -> dict[str, Predictions]:
        """The mean; those of item, user and both, if the data has labels; popularity, if negatives are drawn."""
        label, collation = self.head.label(), examples.collation
        column = label if label in self.head.needs() else None
        asked = Asked(examples.events, examples.items, collation.interactions, collation.histories)
        baselines = score_baselines(asked, column, examples.labels(), statistics)
        return {name: Predictions(np.arange(len(examples)), {"scores": scores}) for name, scores in baselines.items()}

    def tells_apart(self) -> bool:
        """True for clicks."""
        return self.head.label() == "click"

    def answer(self, run: FinishedRun, requests: Requests) -> np.ndarray:
        """[n] float64 scores of the head."""
        return _scores(run, requests, BLOCK, "score").double().numpy()

    def recommend(
        self, run: FinishedRun, requests: Requests, candidates: Candidates, k: int, exclude_seen: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every candidate is scored for every request; the best have the scores of `answer`."""
        size = min(BLOCK, users_at_once(len(candidates)))
        for start in range(0, len(requests), size):
            block = requests.between(start, start + size)
            seen = block.history_items() if exclude_seen else None
            best, preferences = candidates.best(_preferences(run, block, candidates.rows), k, seen)
            yield best, _scores_of(run, block, best, preferences)

    def calibrated(self, predictions: Predictions, calibrate: Callable[[np.ndarray], np.ndarray]) -> Predictions:
        """The same rows with calibrated scores."""
        return Predictions(predictions.rows, {"scores": calibrate(predictions.answers["scores"])})

    def check_calibration(self) -> None:
        """Raise IncompatibleError unless clicks are predicted."""
        if self.head.label() != "click":
            super().check_calibration()


def _preferences(run: FinishedRun, requests: Requests, items: np.ndarray) -> Tensor:
    """[n, C] of these catalog rows for each request."""
    scores = torch.empty(len(requests) * len(items))
    for start in range(0, len(scores), PAIRS):
        pairs = np.arange(start, min(start + PAIRS, len(scores)))
        block = requests.about(pairs // len(items), items[pairs % len(items)])
        scores[start : start + len(pairs)] = _scores(run, block, PAIRS, "preference")
    return scores.view(len(requests), len(items))


def _scores_of(run: FinishedRun, requests: Requests, rows_BK: Tensor, preferences_BK: Tensor) -> Tensor:
    """[B, K] scores of the best catalog rows of each request; the preference of a row -1, which is no item."""
    if type(run.weights).preference is PairHead.preference:  # type: ignore[attr-defined]  # its heads are PairHeads
        return preferences_BK
    request, column = np.nonzero(rows_BK.numpy() >= 0)
    scores_BK = preferences_BK.clone()
    if len(request):
        block = requests.about(request, rows_BK.numpy()[request, column])
        scores_BK[request, column] = _scores(run, block, PAIRS, "score")
    return scores_BK


def _scores(run: FinishedRun, requests: Requests, size: int, method: str) -> Tensor:
    """[n] results of a method of the head on the CPU, `size` requests at a time."""
    return run.answers(requests, method, size).cpu()

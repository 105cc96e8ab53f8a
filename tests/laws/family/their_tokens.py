"""A third-party kind of prediction: one of a few tokens, "yes" or "no", as a language model would generate it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    Collation,
    Encoder,
    Examples,
    FinishedRun,
    Head,
    Histories,
    Interactions,
    Metric,
    MetricInputs,
    Model,
    Part,
    Predictions,
    Predictor,
    Requests,
    Statistics,
    TaskHead,
    View,
    hookimpl,
)

TOKENS = ("no", "yes")


class TokenPredictor(Predictor):
    """Predicts the most probable token. The weights of its heads have `choices`: [B, 2] logits of TOKENS."""

    reads = ("tokens", "scores")
    column = "answer"

    def predict(
        self,
        model: Model,
        examples: Examples,
        blocks: Sequence[np.ndarray],
        metrics: Sequence[Metric],
        table: Tensor | None,
    ) -> Iterator[Predictions]:
        """tokens: [n] indices into TOKENS; scores: [n] probabilities of "yes"."""
        for rows in blocks:
            logits = model.answer(examples.batch(rows), "choices", table)
            probabilities = logits.double().softmax(dim=1).cpu().numpy()
            yield Predictions(rows, {"tokens": probabilities.argmax(axis=1), "scores": probabilities[:, 1]})

    def metric_inputs(self, metric: Metric, predictions: Predictions, examples: Examples) -> MetricInputs:
        return MetricInputs(predictions.answers[metric.reads], examples.labels()[predictions.rows])

    def rules(self, examples: Examples) -> dict[str, str]:
        return {"evaluated": "every held-out row by the predicted token", "seen items": "not ranked", "ties": "give no"}

    def asked(self, examples: Examples) -> Iterator[bytes]:
        yield examples.labels().astype("<f8").tobytes()

    def kept(self, predictions: Predictions, examples: Examples) -> dict[str, np.ndarray]:
        return dict(predictions.answers) | {"label": examples.labels()[predictions.rows]}

    def stored_metric_inputs(self, metric: Metric, kept: Mapping[str, np.ndarray]) -> MetricInputs:
        return MetricInputs(kept[metric.reads], kept["label"])

    def answer(self, run: FinishedRun, requests: Requests) -> np.ndarray:
        tokens = run.answers(requests, "choices", 64).argmax(dim=1).cpu().numpy()
        return np.array(TOKENS, object)[tokens]

    def nothing(self, count: int) -> np.ndarray:
        return np.full(count, None, object)


class YesNoWeights(Head):
    """A vector for each token."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(hidden_size, len(TOKENS))

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.choices(encode, batch), batch.tensors["token"], reduction="none")

    def choices(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B, 2] logits."""
        logits: Tensor = self.tokens(encode.vectors("pairs"))
        return logits


class YesNo(TaskHead):
    """Whether a user will like an item, as a token."""

    name = "yes_no"
    summary = "predicts yes or no for an item"
    predictor = TokenPredictor
    default_metrics = ("token_accuracy", "auc")

    def needs(self) -> frozenset[str]:
        return frozenset({"click"})

    def label(self) -> str:
        return "click"

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        events = interactions.rows(part)
        return Dataset.from_dict({"event": events, "label": interactions.column("click")[events]})

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        histories = [collation.histories.before(int(event), 5) for event in rows["event"]]
        views = [
            View(tuple(history.items.tolist()), collation.histories.liked(history.feedback), int(item))
            for history, item in zip(histories, collation.interactions.item[rows["event"]], strict=True)
        ]
        tensors = {"token": torch.from_numpy(rows["label"].astype(np.int64))} if collation.training else {}
        return Batch(
            torch.from_numpy(rows["row"]), len(views), {"pairs": collation.views(views)}, tensors, rows["event"]
        )

    def build(self, hidden_size: int, statistics: Statistics) -> YesNoWeights:
        return YesNoWeights(hidden_size)


class TokenAccuracy(Metric):
    """Share of rows with the correct token."""

    name = "token_accuracy"
    summary = "share of rows with the correct token"
    reads = "tokens"
    higher_is_better = True

    def value(self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
        return float(np.mean(predictions == references))


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    return [YesNo]


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [TokenAccuracy]

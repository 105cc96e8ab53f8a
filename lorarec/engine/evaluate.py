"""Evaluation: score every example once, on however many processes, and hand the whole to the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from lorarec.contracts import Metric
from lorarec.engine.examples import Examples
from lorarec.model.item_table import is_sharded, item_table
from lorarec.model.ranking import catalogue_scores, held_out_rank, mask_seen, top_items
from lorarec.model.rec_model import RecModel, call, encoder_of


class NamedMetric(NamedTuple):
    """A metric under the name the recipe gave it, such as ndcg@10."""

    label: str
    metric: Metric


class Predictions(NamedTuple):
    """What evaluation found, one entry an example, in the order of the examples."""

    rows: np.ndarray
    """[n] int64 example numbers."""
    scores: np.ndarray
    """[n] float64 scores (pointwise heads), or the rank of the held-out item (retrieval heads)."""
    lists: np.ndarray
    """[n, k] int64 the best items (retrieval heads); [n, 0] otherwise."""


class Evaluation(NamedTuple):
    """How one part, which has examples, was judged under the weights of that moment."""

    metrics: dict[str, float]
    """Each metric's value by its name in the recipe; the same on every process."""
    predictions: Predictions
    labels: np.ndarray | None
    """[n] what was to be predicted; None beside ranks."""
    vectors: Tensor | None
    """[m, d] vectors of some of the items; None where items have none."""


def plain_model(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The model to evaluate with: without DDP, whose forward makes processes wait for each other's batches; sharded
    models need their wrapper."""
    if is_sharded(accelerator):
        return model
    return cast(nn.Module, accelerator.unwrap_model(model))


@torch.no_grad()
def table_for(model: nn.Module, examples: Examples, accelerator: Accelerator) -> Tensor | None:
    """The item vectors [N, D] that evaluation of these weights reads; None where no view is a single item."""
    if examples.head.kind != "retrieval" and not examples.reads_items():
        return None
    model = plain_model(model, accelerator)
    training = model.training
    model.eval()
    try:
        return item_table(encoder_of(model), examples.collation, accelerator)
    finally:
        model.train(training)


@torch.no_grad()
def refresh_head(model: nn.Module, table: Tensor | None, accelerator: Accelerator) -> None:
    """Tell the head that predictions with the present weights are to come, whose item vectors are `table`."""
    if table is not None:
        call(plain_model(model, accelerator), RecModel.refresh, table)


@torch.no_grad()
def predict(
    model: nn.Module,
    examples: Examples,
    metrics: Sequence[NamedMetric],
    accelerator: Accelerator,
    batch_size: int,
    table: Tensor | None = None,
) -> Predictions:
    """Scores, or ranks and lists, of every example, gathered on every process."""
    table = table_for(model, examples, accelerator) if table is None else table
    model = plain_model(model, accelerator)
    training = model.training
    model.eval()
    try:
        if table is not None:
            examples = examples.with_table()
        if examples.head.kind == "retrieval":
            assert table is not None
            k = max((named.metric.k or 0 for named in metrics if named.metric.reads == "lists"), default=0)
            blocks = _ranked(model, examples, accelerator, batch_size, table, k)
        else:
            blocks = _scored(model, examples, accelerator, batch_size, table)
    finally:
        model.train(training)
    return _gathered(blocks, accelerator)


def _mine(examples: Examples, batch_size: int, accelerator: Accelerator) -> list[np.ndarray]:
    # Whole blocks are dealt out: each example is computed among the same neighbours on any number of processes, so
    # that not even rounding differs. Sharded models need every process in every forward, so there all do all.
    blocks = examples.blocks(batch_size)
    if is_sharded(accelerator):
        return blocks
    return blocks[accelerator.process_index :: accelerator.num_processes]


def _scored(
    model: nn.Module, examples: Examples, accelerator: Accelerator, batch_size: int, table: Tensor | None
) -> list[Predictions]:
    found = []
    for rows in _mine(examples, batch_size, accelerator):
        batch = examples.batch(rows).to(accelerator.device)
        scores = call(model, RecModel.answer, batch, "score", table)
        found.append(Predictions(rows, scores.double().cpu().numpy(), np.empty((len(rows), 0), np.int64)))
    return found


def _ranked(
    model: nn.Module, examples: Examples, accelerator: Accelerator, batch_size: int, table: Tensor, k: int
) -> list[Predictions]:
    vectors = call(model, RecModel.answer_items, table, "item_vectors").float()
    histories, events = examples.collation.histories, examples.events
    found = []
    for rows in _mine(examples, batch_size, accelerator):
        batch = examples.batch(rows).to(accelerator.device)
        users = call(model, RecModel.answer, batch, "user_vectors", table).float()
        targets = torch.from_numpy(examples.items[rows]).to(users.device)
        for part, scores in catalogue_scores(users, vectors):
            mask_seen(scores, [histories.seen(int(event)) for event in events[rows[part]]])
            ranks = held_out_rank(scores, targets[part]).double().cpu().numpy()
            lists = top_items(scores, k)[0] if k else torch.empty(len(ranks), 0, dtype=torch.int64)
            found.append(Predictions(rows[part], ranks, lists.cpu().numpy()))
    return found


def _gathered(blocks: list[Predictions], accelerator: Accelerator) -> Predictions:
    everyone: list[Predictions] = gather_object(blocks) if accelerator.num_processes > 1 else blocks
    rows, scores, lists = (np.concatenate(parts) for parts in zip(*everyone, strict=True))
    # Sharded evaluation computes each row on every process: keep one of each.
    rows, first = np.unique(rows, return_index=True)
    return Predictions(rows, scores[first], lists[first])


def shared_metrics(
    predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric], accelerator: Accelerator
) -> dict[str, float]:
    """Metrics computed on the main process and told to the others, so that all take the same decisions."""
    found: list[Any] = [None]
    if accelerator.is_main_process:
        found = [compute_metrics(predictions, examples, metrics)]
    return cast(dict[str, float], broadcast_object_list(found)[0])


def compute_metrics(predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric]) -> dict[str, float]:
    """Each metric's value by its name in the recipe."""
    users = examples.users[predictions.rows]
    found = {}
    for label, metric in metrics:
        if metric.reads == "scores":
            given, references = predictions.scores, examples.labels()[predictions.rows]
        elif metric.reads == "ranks":
            given, references = predictions.scores.astype(np.int64), examples.items[predictions.rows]
        else:
            given, references = predictions.lists[:, : metric.k], examples.items[predictions.rows]
        computed = metric.module().compute(predictions=given, references=references, users=users)
        found[label] = float(computed[metric.name])
    return found

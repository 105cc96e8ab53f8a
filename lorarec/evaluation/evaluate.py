"""Evaluation: ask about every example once, on however many processes, and hand the whole to the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from lorarec.contracts import Examples, Head, Predictions, Scored
from lorarec.evaluation.metrics import NamedMetric, shared_metrics
from lorarec.model.item_table import is_sharded, item_table
from lorarec.model.rec_model import AskedModel, RecModel, call, encoder_of

SAMPLED = 2048
"""Items, at most about so many, whose vectors an evaluation keeps to be looked at."""


class Evaluation(NamedTuple):
    """How one part, which has examples, was judged under the weights of that moment."""

    metrics: dict[str, float]
    """Each metric's value by its name in the recipe; the same on every process."""
    predictions: Predictions
    scored: Scored | None
    """Scores beside labels; None where answers are no scores."""
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
    if not (examples.predictor.has_item_vectors or examples.reads_items()):
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
    """What the model says of every example, gathered on every process."""
    table = table_for(model, examples, accelerator) if table is None else table
    model = plain_model(model, accelerator)
    training = model.training
    model.eval()
    try:
        if table is not None:
            examples = examples.with_table()
        mine, asked = _mine(examples, batch_size, accelerator), [named.metric for named in metrics]
        blocks = list(examples.predictor.predict(AskedModel(model), examples, mine, asked, table))
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


def _gathered(blocks: list[Predictions], accelerator: Accelerator) -> Predictions:
    everyone: list[Predictions] = gather_object(blocks) if accelerator.num_processes > 1 else blocks
    return Predictions.joined(everyone)  # one of each row, since sharded evaluation computes all on every process


def evaluate(
    model: nn.Module,
    examples: Examples,
    metrics: Sequence[NamedMetric],
    accelerator: Accelerator,
    batch_size: int,
    table: Tensor | None = None,
) -> Evaluation | None:
    """The present weights judged on one part; None where it has no examples.

    `table`: item vectors of these very weights, if known; without it they are encoded again.
    """
    if not len(examples):
        return None
    table = table_for(model, examples, accelerator) if table is None else table
    refresh_head(model, table, accelerator)
    predictions = predict(model, examples, metrics, accelerator, batch_size, table)
    return Evaluation(
        metrics=shared_metrics(predictions, examples, metrics, accelerator),
        predictions=predictions,
        scored=examples.predictor.scored(predictions, examples),
        vectors=_some_vectors(model, examples, table, accelerator),
    )


@torch.no_grad()
def _some_vectors(
    model: nn.Module, examples: Examples, table: Tensor | None, accelerator: Accelerator
) -> Tensor | None:
    """[m, d] the vectors that items are compared by, of a sample of them; None where there are none, or a process holds
    but a shard of the weights that make them."""
    if table is None or is_sharded(accelerator):
        return None
    head = cast(Head, plain_model(model, accelerator).head)
    rows = torch.from_numpy(sample_of(len(table))).to(table.device)
    return examples.predictor.likeness(head, table[rows], rows)


def sample_of(size: int) -> np.ndarray:
    """[m] int64 evenly spread catalog rows, at most about SAMPLED of them."""
    return np.arange(0, size, max(1, size // SAMPLED))

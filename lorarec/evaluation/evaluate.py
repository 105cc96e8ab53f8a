"""Evaluation: predict every example once, on any number of processes, and compute the metrics of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from lorarec.contracts import Examples, Head, Predictions, Scored
from lorarec.errors import PluginError, TrainingError
from lorarec.evaluation.metrics import NamedMetric, shared_metrics
from lorarec.model.encoded_catalog import encoded_catalog, is_sharded
from lorarec.model.rec_model import AskedModel, RecModel, call, encoder_of

SAMPLED = 2048
"""About how many items an evaluation keeps the vectors of, at most, for guards to check."""


class Evaluation(NamedTuple):
    """The evaluation of one part, which has examples, with the current weights."""

    metrics: dict[str, float]
    """Each metric's value by its name in the recipe; the same on every process."""
    predictions: Predictions
    scored: Scored | None
    """Scores and labels; None where predictions are not scores."""
    vectors: Tensor | None
    """[m, d] vectors of a sample of the items; None where items have none."""


def plain_model(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The model to evaluate with: without DDP, whose forward makes processes wait for each other's batches; sharded
    models need their wrapper."""
    if is_sharded(accelerator):
        return model
    return cast(nn.Module, accelerator.unwrap_model(model))


@torch.no_grad()
def table_for(model: nn.Module, examples: Examples, accelerator: Accelerator) -> Tensor | None:
    """The item vectors [N, D] that an evaluation of these weights reads; None where no view is a single item."""
    if not (examples.predictor.has_item_vectors or examples.reads_items()):
        return None
    model = plain_model(model, accelerator)
    training = model.training
    model.eval()
    try:
        return encoded_catalog(encoder_of(model), examples.collation, accelerator)
    finally:
        model.train(training)


@torch.no_grad()
def refresh_head(model: nn.Module, table: Tensor | None, accelerator: Accelerator) -> None:
    """Call the head's `refresh` before predictions with the current weights; `table` holds their item vectors."""
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
    """The model's predictions for every example, gathered on every process."""
    table = table_for(model, examples, accelerator) if table is None else table
    model = plain_model(model, accelerator)
    training = model.training
    model.eval()
    try:
        if table is not None:
            examples = examples.with_items_encoded()
        mine, asked = _mine(examples, batch_size, accelerator), [named.metric for named in metrics]
        blocks = list(examples.predictor.predict(AskedModel(model), examples, mine, asked, table))
    finally:
        model.train(training)
    predictions = _gathered(blocks, accelerator)
    _check(predictions, examples)
    return predictions


def _check(predictions: Predictions, examples: Examples) -> None:
    """Raises PluginError unless each example has one prediction, TrainingError unless all predictions are finite."""
    if not np.array_equal(predictions.rows, np.arange(len(examples))):
        raise PluginError(
            f"head '{examples.head.name}' gives predictions for {len(predictions.rows):,} of {len(examples):,} "
            "held-out examples: there must be one for each."
        )
    for name, values in predictions.answers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TrainingError(
                f"{(~np.isfinite(values)).sum():,} of {values.size:,} predictions ({name}) of head "
                f"'{examples.head.name}' are NaN or infinite. Lower train.learning_rate, or use train.precision=fp32."
            )


def _mine(examples: Examples, batch_size: int, accelerator: Accelerator) -> list[np.ndarray]:
    # Whole blocks are dealt out: each example is computed in the same batch on any number of processes, so that not
    # even rounding differs. Sharded models need every process in every forward, so there each computes all blocks.
    blocks = examples.blocks(batch_size)
    if is_sharded(accelerator):
        return blocks
    return blocks[accelerator.process_index :: accelerator.num_processes]


def _gathered(blocks: list[Predictions], accelerator: Accelerator) -> Predictions:
    everyone: list[Predictions] = gather_object(blocks) if accelerator.num_processes > 1 else blocks
    return Predictions.joined(everyone)  # without duplicates: sharded evaluation computes all rows on every process


def evaluate(
    model: nn.Module,
    examples: Examples,
    metrics: Sequence[NamedMetric],
    accelerator: Accelerator,
    batch_size: int,
    table: Tensor | None = None,
) -> Evaluation | None:
    """Evaluate the current weights on one part; None where it has no examples.

    `table`: the item vectors of these weights, if known; else they are encoded.
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
    """[m, d] the vectors that a sample of the items is compared by; None where there are none."""
    if table is None:
        return None
    head = cast(Head, plain_model(model, accelerator).head)
    rows = torch.from_numpy(sample_of(len(table))).to(table.device)
    return examples.predictor.similarity_vectors(head, table[rows], rows)


def sample_of(size: int) -> np.ndarray:
    """[m] int64 evenly spread catalog rows, at most about SAMPLED of them."""
    return np.arange(0, size, max(1, size // SAMPLED))

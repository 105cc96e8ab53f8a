"""Turn a trained model into a run folder and a Recommender."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from lorarec.artifact import layout
from lorarec.artifact.model_card import model_card
from lorarec.artifact.reader import KeptScores
from lorarec.artifact.writer import RunWriter
from lorarec.contracts import Examples, Part, Predictions, TrainingPlan
from lorarec.engine.processes import on_main_process
from lorarec.inference.recommender import Recommender
from lorarec.model.encoded_catalog import encoded_catalog, is_sharded
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.pipeline.assemble import RunData, request_format
from lorarec.pipeline.build_model import whole_copy
from lorarec.pipeline.check_saved import check_saved


def finish_run(
    run_data: RunData,
    model: RecModel,
    table: Tensor | None,
    metrics: Mapping[str, Any],
    kept: KeptScores | None,
    identity: Mapping[str, Any],
    plan: TrainingPlan,
    writer: RunWriter,
    accelerator: Accelerator,
) -> Recommender:
    """Write the run folder, check that it predicts the same when it is read again, rename it, and return its
    Recommender. Called on every process.

    `table`: the item table of the final weights, if there is one; `kept`: their scores of the test part; `identity`:
    content of environment.json. A sharded model is gathered on the CPU: it may be too large for one device.
    """
    model.eval()
    if accelerator.mixed_precision != "no":
        table = None  # it was encoded in mixed precision, which a loaded run does not use
    vectors = _item_vectors(run_data.examples[Part.TRAIN], model, table, accelerator)
    if is_sharded(accelerator):
        model, table = whole_copy(model, run_data, plan), None if table is None else table.cpu()
    recommender = _recommender(run_data, model, metrics, vectors, table, writer.output)

    def write() -> None:
        _write(run_data, model, vectors, metrics, kept, identity, writer)
        check_saved(recommender, table, run_data, writer.folder)
        writer.finish()

    on_main_process(accelerator, write)
    return recommender


def _recommender(
    run_data: RunData,
    model: RecModel,
    metrics: Mapping[str, Any],
    vectors: Tensor | None,
    table: Tensor | None,
    path: Path,
) -> Recommender:
    return Recommender(
        path=path,
        metrics=dict(metrics),
        catalog=run_data.data.catalog,
        statistics=run_data.data.statistics,
        head=run_data.resolved.head,
        model=model,
        featurizer=run_data.featurizer,
        seed=run_data.resolved.recipe.seed,
        seen=run_data.resolved.recipe.evaluate.seen,
        request_format=request_format(run_data.resolved, run_data.data.catalog),
        item_vectors=vectors,
        sample=_sample(run_data),
        _table=table,
    )


def _write(
    run_data: RunData,
    model: RecModel,
    vectors: Tensor | None,
    metrics: Mapping[str, Any],
    kept: KeptScores | None,
    identity: Mapping[str, Any],
    writer: RunWriter,
) -> None:
    resolved, data = run_data.resolved, run_data.data
    if kept is not None:
        writer.write_test_scores(kept)
    writer.write_weights(model.adapter, model.network, model.head)
    if vectors is not None:
        writer.write_item_vectors(vectors)
    writer.write_catalog(data.catalog, data.statistics)
    writer.write_json(layout.METRICS, metrics)
    writer.write_json(layout.DATA_REPORT, data.report.to_dict())
    writer.write_json(layout.ENVIRONMENT, identity)
    parts = {kind: getattr(resolved, kind).name for kind in ("backbone", "adapter", "head")}
    card = model_card(resolved.recipe.name, parts, resolved.source.name, data.report.lines(), metrics)
    writer.write_text(layout.MODEL_CARD, str(card))
    writer.write_checksums()


@torch.no_grad()
def _item_vectors(examples: Examples, model: RecModel, table: Tensor | None, accelerator: Accelerator) -> Tensor | None:
    predictor = examples.predictor
    if not predictor.has_item_vectors:
        return None
    if table is None:
        table = encoded_catalog(encoder_of(model), examples.collation, accelerator)
    vectors = predictor.item_vectors(AskedModel(model), table)
    return None if vectors is None else vectors.cpu()


def kept_scores(examples: dict[Part, Examples], predictions: dict[Part, Predictions]) -> KeptScores | None:
    """The scores of the test part to store; None if it has no examples."""
    if Part.TEST not in predictions:
        return None
    predicted, test = predictions[Part.TEST], examples[Part.TEST]
    _, users = np.unique(test.users[predicted.rows], return_inverse=True)
    return KeptScores(users, test.predictor.kept(predicted, test))


def _sample(run_data: RunData) -> list[tuple[str, float]]:
    """The history of one test example with a few events, for a preview of recommendations."""
    examples = run_data.examples[Part.TEST]
    events = examples.events if len(examples) else run_data.examples[Part.TRAIN].events
    lengths = run_data.data.histories.lengths(events)
    event = int(events[int((lengths >= min(5, lengths.max())).argmax())])
    history = run_data.data.histories.before(event, 10)
    ids = run_data.data.catalog.ids
    return [(ids[item], float(f)) for item, f in zip(history.items, history.feedback, strict=True)]

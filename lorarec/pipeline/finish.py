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
from lorarec.contracts import Catalog, Examples, Featurizer, Part, Predictions, TrainingPlan, View
from lorarec.data.streams import Purpose, derived_seed
from lorarec.errors import PluginError
from lorarec.inference.recommender import Recommender
from lorarec.model.encoded_catalog import encoded_catalog, is_sharded
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.pipeline.assemble import RunData
from lorarec.pipeline.build_model import whole_copy

SAME = 1e-4
"""Largest difference of vectors of the trained and of the saved model, relative to the largest number."""


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
    """Write the run folder, rename it, and return its Recommender. Called on every process.

    `table`: the item table of the final weights, if there is one; `kept`: their scores of the test part; `identity`:
    content of environment.json. A sharded model is gathered on the CPU: it may be too large for one device.
    """
    model.eval()
    if accelerator.mixed_precision != "no":
        table = None  # it was encoded in mixed precision, which a loaded run does not use
    vectors = _item_vectors(run_data.examples[Part.TRAIN], model, table, accelerator)
    if is_sharded(accelerator):
        model, table = whole_copy(model, run_data, plan), None if table is None else table.cpu()
    if accelerator.is_main_process:
        _write(run_data, model, vectors, metrics, kept, identity, writer)
        if model.network_trains:
            seed = run_data.resolved.recipe.seed
            _check_saved(model, run_data.data.catalog, run_data.featurizer, seed, writer.folder)
        writer.finish()
    accelerator.wait_for_everyone()
    return Recommender(
        path=writer.output,
        metrics=dict(metrics),
        catalog=run_data.data.catalog,
        statistics=run_data.data.statistics,
        head=run_data.resolved.head,
        model=model,
        featurizer=run_data.featurizer,
        seed=run_data.resolved.recipe.seed,
        seen=run_data.resolved.recipe.evaluate.seen,
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


@torch.no_grad()
def _check_saved(model: RecModel, catalog: Catalog, featurizer: Featurizer, seed: int, folder: Path) -> None:
    """Encode a few texts with the saved model. Raises PluginError if it differs from the trained one."""
    fresh = type(model.backbone)(model.backbone.config)
    if (copy := folder / layout.BACKBONE).is_dir():
        fresh.load_from(copy)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        fresh.load(catalog, derived_seed(seed, Purpose.BACKBONE_WEIGHTS))
        restored = model.adapter.restore(fresh, folder / layout.ADAPTER).to(device)
    items = [int(row) for row in np.unique(np.linspace(0, len(catalog) - 1, 4).astype(int))]
    features = featurizer([View(history=tuple(items)), *(View(candidate=item) for item in items)])
    features = {name: tensor.to(device) for name, tensor in features.items()}
    trained = model.backbone.encode(model.network, features).pooled.float()
    difference = float((fresh.encode(restored, features).pooled.float() - trained).abs().max())
    if not difference <= SAME * float(trained.abs().max()):
        raise PluginError(
            f"Adapter '{model.adapter.name}' does not restore what was trained: vectors of the saved model differ by "
            f"up to {difference:.2g}. The run is not finished. Test the adapter's `save` and `restore` with "
            "lorarec.testing.check_adapter."
        )


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

"""Measure: a run's numbers, each with its interval, its protocol and the baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from lorarec.contracts import Part, Predictions, Views
from lorarec.data.columns import HISTORY
from lorarec.data.streams import Purpose, derived_seed
from lorarec.evaluation.intervals import LEVEL, METHOD, metric_intervals
from lorarec.evaluation.metrics import baseline_metrics, compute_metrics, slice_metrics
from lorarec.evaluation.protocol import protocol
from lorarec.model.item_table import item_table
from lorarec.pipeline.assemble import Materials

HELD_OUT = (Part.VALIDATION, Part.TEST)


def measure(materials: Materials, predictions: Mapping[Part, Predictions], frozen: Tensor | None) -> dict[str, Any]:
    """`validation` and `test` (plain numbers), `intervals`, `protocol`, `baselines`, `slices` and `leaks`.

    `predictions` lacks the parts that have no examples; `frozen` holds the item vectors of `frozen_item_vectors`.
    """
    data = materials.data
    found: dict[str, Any] = {"validation": {}, "test": {}}
    bounds: dict[str, Any] = {"level": LEVEL, "method": METHOD}
    baselines: dict[str, Any] = {}
    slices: dict[str, Any] = {}
    for part, judged in predictions.items():
        examples, name = materials.examples[part], part.name.lower()
        found[name] = compute_metrics(judged, examples, materials.metrics)
        bounds[name] = metric_intervals(judged, examples, materials.metrics, materials.resolved.recipe.seed)
        slices[name] = slice_metrics(judged, examples, materials.metrics, data.statistics)
        for baseline, values in baseline_metrics(examples, materials.metrics, data.statistics, frozen).items():
            baselines.setdefault(baseline, {})[name] = values
    leaks = {finding.kind: {"rows": finding.rows, "message": finding.message} for finding in materials.leaks}
    rules = protocol(
        materials.resolved.recipe.data, materials.examples, data.report.fingerprint, data.interactions.has(HISTORY)
    )
    return found | {"intervals": bounds, "protocol": rules, "baselines": baselines, "slices": slices, "leaks": leaks}


@torch.no_grad()
def frozen_item_vectors(materials: Materials, accelerator: Accelerator, copy: Path | None = None) -> Tensor | None:
    """[N, D] the catalogue as the backbone reads it before any training, for the baseline "nearest text"; None where
    no baseline of the head's family asks for it, or the backbone reads no text. `copy`: the run's copy of the backbone,
    where it has one."""
    resolved = materials.resolved
    if not (resolved.head.predictor.compares_texts and resolved.backbone.reads_text):
        return None
    bare = type(resolved.backbone)(resolved.backbone.config)
    if copy is not None:
        bare.use_copy(copy)
    bare.load(materials.data.catalog, derived_seed(resolved.recipe.seed, Purpose.BACKBONE_WEIGHTS))
    module = bare.module.to(accelerator.device).eval()

    def encode(views: Views) -> Tensor:
        pooled = [bare.encode(module, chunk).pooled.float() for chunk in views.chunks]
        return torch.cat(pooled)[views.order]

    return item_table(encode, materials.examples[Part.TRAIN].collation, accelerator).cpu()

"""Merge an adapter into its backbone: a plain transformers folder for tools without support for adapters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lorarec.artifact.reader import using
from lorarec.artifact.writer import check_creatable, check_new_folder
from lorarec.contracts import View
from lorarec.disk import atomic_write, locked
from lorarec.errors import ArtifactError
from lorarec.inference.recommender import Recommender
from lorarec.pipeline.load import load
from lorarec.registry.faults import plugin_faults

PROBES = 64
"""Number of catalog items whose vectors are compared."""
TOLERANCE = 1e-4
"""Largest difference, relative to the largest number: rounding in float32 over a dozen layers."""


@plugin_faults()
@torch.no_grad()
def merge(run: str | Path, output: str | Path) -> Path:
    """Write the merged backbone as a plain transformers folder, after comparing its vectors with the unmerged ones.

    The head is not part of it. Raises IncompatibleError for adapters that cannot be merged, and ArtifactError if the
    folder exists or the vectors differ.
    """
    output = Path(output)
    check_creatable(output)
    with locked(output):
        check_new_folder(output)
        _merge(Path(run), output)
    return output


def _merge(run: Path, output: Path) -> None:
    recommender = load(run)
    with using(run), plugin_faults((recommender.model.adapter, recommender.model.backbone)):
        merged = _merged(recommender)
    with atomic_write(output) as partial:
        recommender.model.backbone.save(merged, partial)


def _merged(recommender: Recommender) -> nn.Module:
    """The backbone with the adapter merged into it. Raises ArtifactError if its vectors differ."""
    # Adapters are merged in float32, so the unmerged vectors are computed in float32, too.
    model = recommender.model.cpu().float()
    rows = np.unique(np.linspace(0, len(recommender.catalog) - 1, PROBES).astype(np.int64))
    features = recommender.featurizer([View(candidate=int(row)) for row in rows])
    before = model.backbone.encode(model.network, features).pooled.float()
    merged = model.adapter.merge(model.network)
    after = model.backbone.encode(merged, features).pooled.float()
    difference = float((before - after).abs().max())
    allowed = TOLERANCE * float(before.abs().max())
    if not difference <= allowed:
        raise ArtifactError(
            f"Merging changes the vectors by up to {difference:.2g} (allowed: {allowed:.2g}): nothing was written. The "
            "run itself is unchanged."
        )
    return merged

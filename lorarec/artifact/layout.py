"""Every name in a run folder, once."""

from __future__ import annotations

from pathlib import Path

RECIPE = "recipe.yaml"
ADAPTER = "adapter"
HEAD = "head.safetensors"
BACKBONE = "backbone"
CATALOG = "catalog.parquet"
FEATURES = "feature_"
"""Begins the names of the catalogue's columns that hold item features."""
STATISTICS = "statistics.json"
ITEM_VECTORS = "item_vectors.safetensors"
METRICS = "metrics.json"
CALIBRATION = "calibration.json"
TEST_SCORES = "test_scores.parquet"
HISTORY = "history.jsonl"
DATA_REPORT = "data_report.json"
ENVIRONMENT = "environment.json"
MODEL_CARD = "README.md"
MANIFEST = "manifest.json"
PROFILE = "profile"
CHECKPOINTS = "checkpoints"

FORMAT = 2
"""Version of the run folder, which the manifest carries. 1 had a manifest of checksums alone; it is still read. A
change that an older lorarec would misread takes the next number."""

REQUIRED = (RECIPE, ADAPTER, HEAD, CATALOG, STATISTICS, METRICS, ENVIRONMENT, MANIFEST)


def unfinished(output: Path) -> Path:
    """Where a run lies until it is whole: beside its place, on the same disk, so that it can be renamed."""
    return output.with_name(output.name + ".unfinished")

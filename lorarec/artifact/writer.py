"""RunWriter: writes a run to a temporary folder and renames it when it is complete."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lorarec.artifact import layout
from lorarec.artifact.layout import write_checksums
from lorarec.artifact.reader import KeptScores
from lorarec.contracts import Adapter, Catalog, Statistics
from lorarec.errors import ArtifactError

PACKAGES = ("lorarec", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "pluggy", "safetensors")


def check_new_folder(output: Path) -> None:
    """Raises ArtifactError if `output` exists, or if it cannot be created because no parent folder is writable."""
    if output.exists() or output.is_symlink():
        raise ArtifactError(f"{output} exists already. Name another folder with --output, or remove it.")
    nearest = next(parent for parent in output.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        what = "is not writable" if nearest.is_dir() else "is not a folder"
        raise ArtifactError(f"{output} cannot be created: {nearest} {what}. Name another folder with --output.")


class RunWriter:
    """Writer of an unfinished run. `folder` is `OUTPUT.unfinished`; `finish` renames it to `OUTPUT`."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = layout.unfinished(output)
        self._complete = False

    def start(self, recipe_text: str) -> None:
        """Create the folder and write the recipe to it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_text(layout.RECIPE, recipe_text)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")

    def write_weights(self, adapter: Adapter, network: nn.Module, head: nn.Module) -> None:
        """Write the adapter's files, and the head's weights and buffers."""
        target = self.folder / layout.ADAPTER
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        adapter.save(network, target)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
        save_file(state, self.folder / layout.HEAD)

    def write_item_vectors(self, vectors: Tensor) -> None:
        """Write the head's item vectors [N, d], in catalog order."""
        save_file({"item_vectors": vectors.cpu().contiguous()}, self.folder / layout.ITEM_VECTORS)

    def write_test_scores(self, kept: KeptScores) -> None:
        """Write the scores of each test example, for comparing runs: the column `user`, and the predictor's columns."""
        columns = {layout.USER: kept.users, **kept.columns}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        pq.write_table(table, self.folder / layout.TEST_SCORES)

    def write_catalog(self, catalog: Catalog, statistics: Statistics) -> None:
        """Write the catalog and the statistics of the training rows, from which a head is rebuilt."""
        table = catalog.arrow()
        for name, features in statistics.item_features.items():
            vectors = pa.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
            table = table.append_column(layout.FEATURES + name, vectors)
        table = table.append_column("training_events", pa.array(statistics.item_counts))
        pq.write_table(table, self.folder / layout.CATALOG)
        numbers = ("label_mean", "label_min", "label_max", "liked_above", "label_levels")
        self.write_json(layout.STATISTICS, {name: getattr(statistics, name) for name in numbers})

    def finish(self) -> Path:
        """Write checksums, delete the checkpoints, and rename the folder."""
        write_checksums(self.folder)
        self._complete = True  # from here on, only the renaming is left
        shutil.rmtree(self.folder / layout.CHECKPOINTS, ignore_errors=True)
        if self.output.exists():
            raise ArtifactError(f"{self.output} was created in the meantime; the finished run is in {self.folder}.")
        os.replace(self.folder, self.output)
        return self.output

    def discard(self) -> None:
        """Remove a run that failed before its first checkpoint: it could not be resumed.

        A complete run that could not be renamed is kept: it has no checkpoints because it is finished.
        """
        if self._complete:
            return
        checkpoints = self.folder / layout.CHECKPOINTS
        if not any(checkpoints.glob("step-*")):
            shutil.rmtree(self.folder, ignore_errors=True)
        for half_written in checkpoints.glob(".*.partial"):
            shutil.rmtree(half_written, ignore_errors=True)


def environment(providers: Mapping[str, str], **values: Any) -> dict[str, Any]:
    """Package versions, platform, the provider of each part, and the given values."""
    return {
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or "cpu"),
        "threads": torch.get_num_threads(),
        "plugins": dict(providers),
        **values,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

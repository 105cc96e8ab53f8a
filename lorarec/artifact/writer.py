"""RunWriter: puts a run folder together aside and gives it its name when it is whole."""

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
    """Raises ArtifactError if `output` exists, or if there is no folder in which it could be made."""
    if output.exists() or output.is_symlink():
        raise ArtifactError(f"{output} exists already. Name another folder with --output, or remove it.")
    nearest = next(parent for parent in output.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        what = "may not be written to" if nearest.is_dir() else "is no folder"
        raise ArtifactError(f"{output} cannot be made: {nearest} {what}. Name another folder with --output.")


class RunWriter:
    """A run in the making. `folder` is `OUTPUT.unfinished`; `finish` renames it to `OUTPUT`."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = layout.unfinished(output)
        self._whole = False

    def start(self, recipe_text: str) -> None:
        """Make the folder, with the recipe in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_text(layout.RECIPE, recipe_text)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")

    def write_weights(self, adapter: Adapter, network: nn.Module, head: nn.Module) -> None:
        """The adapter's own files, and the head's weights and buffers."""
        target = self.folder / layout.ADAPTER
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        adapter.save(network, target)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
        save_file(state, self.folder / layout.HEAD)

    def write_item_vectors(self, vectors: Tensor) -> None:
        """[N, d] the head's item vectors, in catalog order."""
        save_file({"item_vectors": vectors.cpu().contiguous()}, self.folder / layout.ITEM_VECTORS)

    def write_test_scores(self, kept: KeptScores) -> None:
        """What the model says of each test example, for comparing runs: the column user, and the predictor's."""
        columns = {layout.USER: kept.users, **kept.columns}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        pq.write_table(table, self.folder / layout.TEST_SCORES)

    def write_catalog(self, catalog: Catalog, statistics: Statistics) -> None:
        """Catalog and what the training rows say, as a head needs them to be rebuilt."""
        table = catalog.arrow()
        for name, features in statistics.item_features.items():
            vectors = pa.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
            table = table.append_column(layout.FEATURES + name, vectors)
        table = table.append_column("training_events", pa.array(statistics.item_counts))
        pq.write_table(table, self.folder / layout.CATALOG)
        numbers = ("label_mean", "label_min", "label_max", "liked_above", "label_values")
        self.write_json(layout.STATISTICS, {name: getattr(statistics, name) for name in numbers})

    def finish(self) -> Path:
        """Write checksums, drop the checkpoints, and give the folder its name."""
        write_checksums(self.folder)
        self._whole = True  # from here on nothing but the name is missing
        shutil.rmtree(self.folder / layout.CHECKPOINTS, ignore_errors=True)
        if self.output.exists():
            raise ArtifactError(f"{self.output} has come to be meanwhile; the finished run lies in {self.folder}.")
        os.replace(self.folder, self.output)
        return self.output

    def discard(self) -> None:
        """Remove what was begun: a run that failed before its first checkpoint is of no use to anyone.

        A run that was only to be renamed stays: its checkpoints are gone because it is finished.
        """
        if self._whole:
            return
        checkpoints = self.folder / layout.CHECKPOINTS
        if not any(checkpoints.glob("step-*")):
            shutil.rmtree(self.folder, ignore_errors=True)
        for half_written in checkpoints.glob(".*.partial"):
            shutil.rmtree(half_written, ignore_errors=True)


def environment(providers: Mapping[str, str], **facts: Any) -> dict[str, Any]:
    """Versions of what was used, who provided each part, and the facts given."""
    return {
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or "cpu"),
        "threads": torch.get_num_threads(),
        "plugins": dict(providers),
        **facts,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")

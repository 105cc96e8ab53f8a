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
from lorarec.disk import atomic_write, check_target, move, remove, write_text
from lorarec.errors import ArtifactError

PACKAGES = ("lorarec", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "pluggy", "safetensors")


def check_new_folder(output: Path) -> None:
    """Raises ArtifactError if `output` exists, or if it cannot be created."""
    if os.path.lexists(output):
        raise ArtifactError(f"{output} exists already. Name another folder with --output, or remove it.")
    check_creatable(output)


def check_creatable(output: Path) -> None:
    """Raises ArtifactError if neither `output` nor the folder of an unfinished run can be created."""
    check_target(output)
    check_target(layout.unfinished(output))


class RunWriter:
    """Writer of an unfinished run. `folder` is `OUTPUT.unfinished`; `finish` renames it to `OUTPUT`.

    The folder appears with recipe and environment in it, and each file in it is written whole or not at all. Its
    methods are called on the main process, which holds the lock of `output`.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = layout.unfinished(output)
        self._started = False  # by this process, and not yet complete

    def start(self, recipe_text: str, identity: Mapping[str, Any]) -> None:
        """Create the folder with the recipe and environment.json in it, in place of one without a checkpoint."""
        remove(self.folder)
        self._started = True
        with atomic_write(self.folder) as partial:
            partial.mkdir()
            (partial / layout.RECIPE).write_text(recipe_text, encoding="utf-8")
            (partial / layout.ENVIRONMENT).write_text(_json(identity), encoding="utf-8")

    def has_checkpoints(self) -> bool:
        """Whether the run can be resumed after its first step."""
        return any((self.folder / layout.CHECKPOINTS).glob("step-*"))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        write_text(self.folder / name, text)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file."""
        self.write_text(name, _json(content))

    def write_weights(self, adapter: Adapter, network: nn.Module, head: nn.Module) -> None:
        """Write the adapter's files, and the head's weights and buffers."""
        remove(self.folder / layout.ADAPTER)  # of a run that was stopped while it was finished
        with atomic_write(self.folder / layout.ADAPTER) as partial:
            partial.mkdir()
            adapter.save(network, partial)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
        with atomic_write(self.folder / layout.HEAD) as partial:
            save_file(state, partial)

    def write_item_vectors(self, vectors: Tensor) -> None:
        """Write the head's item vectors [N, d], in catalog order."""
        with atomic_write(self.folder / layout.ITEM_VECTORS) as partial:
            save_file({"item_vectors": vectors.cpu().contiguous()}, partial)

    def write_test_scores(self, kept: KeptScores) -> None:
        """Write the scores of each test example, for comparing runs: the column `user`, and the predictor's columns."""
        columns = {layout.USER: kept.users, **kept.columns}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        with atomic_write(self.folder / layout.TEST_SCORES) as partial:
            pq.write_table(table, partial)

    def write_catalog(self, catalog: Catalog, statistics: Statistics) -> None:
        """Write the catalog and the statistics of the training rows, from which a head is rebuilt."""
        table = catalog.arrow()
        for name, features in statistics.item_features.items():
            vectors = pa.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
            table = table.append_column(layout.FEATURES + name, vectors)
        table = table.append_column("training_events", pa.array(statistics.item_counts))
        with atomic_write(self.folder / layout.CATALOG) as partial:
            pq.write_table(table, partial)
        numbers = ("label_mean", "label_min", "label_max", "liked_above", "liked_feedback", "label_levels")
        self.write_json(layout.STATISTICS, {name: getattr(statistics, name) for name in numbers})

    def write_checksums(self) -> None:
        """Write the manifest: the folder can then be read as a finished run."""
        write_checksums(self.folder)

    def finish(self) -> Path:
        """Rename the folder, and delete the checkpoints: last, so that the run can be resumed until it is finished."""
        self._started = False  # only the renaming is left
        if self.output.exists():
            raise ArtifactError(f"{self.output} was created in the meantime; the finished run is in {self.folder}.")
        move(self.folder, self.output)
        remove_checkpoints(self.output)
        return self.output

    def interrupted(self) -> str:
        """What is left of a run that was stopped by a signal, before `discard`, and how to continue."""
        if not self.folder.exists() and self.output.exists():
            return f"Stopped at once, but the run is finished: it is in {self.output}."
        if self.has_checkpoints():
            return (
                f"Stopped at once. The same command with --resume continues from the last checkpoint in {self.folder}."
            )
        return "Stopped at once, before the first checkpoint, so nothing was kept. Run the same command to start again."

    def discard(self) -> None:
        """Remove a run that this process started and that failed before its first checkpoint: it could not be resumed.
        One that was refused, or that is complete and could not be renamed, is kept."""
        if self._started and not self.has_checkpoints():
            remove(self.folder)


def remove_checkpoints(run: Path) -> None:
    """Remove the checkpoints of a finished run, or what a process that was killed here left of them."""
    shutil.rmtree(run / layout.CHECKPOINTS, ignore_errors=True)


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


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

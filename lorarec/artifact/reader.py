"""Read a run folder: its checked contents, and the stored scores of the test part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file
from torch import Tensor

from lorarec.artifact import layout
from lorarec.artifact.layout import check_checksums
from lorarec.contracts import Catalog, Statistics
from lorarec.evaluation.calibration import Calibration


@dataclass(frozen=True)
class RunFolder:
    """Contents of a run folder, apart from the model itself."""

    path: Path
    catalog: Catalog
    statistics: Statistics
    metrics: dict[str, Any]
    environment: dict[str, Any]
    head_weights: dict[str, Tensor]
    item_vectors: Tensor | None
    """[N, d], if the head's predictor has item vectors."""
    calibration: Calibration | None
    """Set if `lorarec calibrate` was run."""

    @property
    def adapter(self) -> Path:
        """Folder of the adapter's files."""
        return self.path / layout.ADAPTER

    @property
    def backbone(self) -> Path | None:
        """Folder of the copy of the backbone, if there is one."""
        folder = self.path / layout.BACKBONE
        return folder if folder.is_dir() else None


def read_run(path: Path) -> RunFolder:
    """Read and check a run folder. Raises ArtifactError naming what is missing or was changed."""
    check_checksums(path)
    table = pq.read_table(path / layout.CATALOG)
    numbers = json.loads((path / layout.STATISTICS).read_text(encoding="utf-8"))
    if "label_values" in numbers:  # the name up to format 2
        numbers["label_levels"] = numbers.pop("label_values")
    vectors, calibration = path / layout.ITEM_VECTORS, path / layout.CALIBRATION
    return RunFolder(
        path=path,
        catalog=Catalog.of_arrow(table),
        statistics=Statistics(
            item_counts=table.column("training_events").to_numpy().copy(),  # a copy: torch wants it writable
            user_counts=np.empty(0, np.int64),
            item_features={
                name.removeprefix(layout.FEATURES): _matrix(table.column(name))
                for name in table.column_names
                if name.startswith(layout.FEATURES)
            },
            **numbers,
        ),
        metrics=json.loads((path / layout.METRICS).read_text(encoding="utf-8")),
        environment=json.loads((path / layout.ENVIRONMENT).read_text(encoding="utf-8")),
        head_weights=load_file(path / layout.HEAD),
        item_vectors=load_file(vectors)["item_vectors"] if vectors.exists() else None,
        calibration=Calibration.of(json.loads(calibration.read_text(encoding="utf-8")))
        if calibration.exists()
        else None,
    )


class KeptScores(NamedTuple):
    """Scores of each test example, in order, so that runs can be compared row by row. No histories or items are
    stored, and users are anonymous numbers."""

    users: np.ndarray
    """[n] int64; examples of the same user share a number."""
    columns: Mapping[str, np.ndarray]
    """[n] by name, as the head's predictor writes and reads them."""


def read_test_scores(run: Path) -> KeptScores:
    """Read the file of `RunWriter.write_test_scores`."""
    table = pq.read_table(run / layout.TEST_SCORES)
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return KeptScores(columns.pop(layout.USER), columns)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """[N, F] from a column of lists of equal length."""
    flat = column.combine_chunks().flatten().to_numpy()
    return np.array(flat.reshape(len(column), -1))  # a copy: torch wants it writable

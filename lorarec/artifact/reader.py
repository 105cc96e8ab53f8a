"""Read a run folder: its checked contents, and the stored scores of the test part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from lorarec.artifact import layout
from lorarec.artifact.layout import check_checksums
from lorarec.artifact.parquet import read_parquet
from lorarec.config.yaml_text import read_yaml
from lorarec.contracts import Catalog, Statistics, load_weights
from lorarec.data.numbers import LARGEST
from lorarec.errors import ArtifactError, LorarecError, RecipeError, described, is_of_the_machine
from lorarec.evaluation.calibration import Calibration
from lorarec.registry.faults import fault_of
from lorarec.untrusted import MOST_RECIPE, read_json, read_text


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

    def recipe(self) -> dict[str, Any]:
        """The recipe, which has every section and extends no other file. Raises RecipeError otherwise."""
        with reading(self.path / layout.RECIPE) as file:
            text = read_text(file, MOST_RECIPE)
        values, _ = read_yaml(text, str(file))
        sections = [values.get(name) for name in ("train", "adapter")] if isinstance(values, dict) else [None]
        if not all(isinstance(section, dict) for section in sections):
            raise RecipeError(f"{file}: it does not hold the settings of a run.")
        if "extends" in values:
            raise RecipeError(f"{file}: extends: the recipe of a run is whole, and reads no other file.")
        return dict(values)

    def weight_files(self) -> list[Path]:
        """The files of weights: of the head, the adapter, and the copy of the backbone."""
        folders = (self.adapter, self.path / layout.BACKBONE)
        return [self.path / layout.HEAD, *(file for each in folders for file in sorted(each.rglob("*.safetensors")))]


_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class _Numbers(BaseModel):
    """What statistics.json holds."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    label_mean: _Number
    label_min: _Number
    label_max: _Number
    liked_above: _Number
    label_levels: Annotated[list[_Number], Field(max_length=Statistics.MOST_VALUES)] = []
    liked_feedback: _Number | None = None

    @model_validator(mode="after")
    def _of_former_versions(self) -> _Numbers:
        """They did not keep the liked feedback."""
        liked = [level for level in self.label_levels if level > self.liked_above]
        if liked and "liked_feedback" not in self.model_fields_set:
            self.liked_feedback = float(np.mean(liked))
        return self


class _Metrics(BaseModel):
    """What metrics.json holds, as far as it is read again."""

    model_config = ConfigDict(strict=True, extra="allow")
    validation: dict[str, float | None]
    test: dict[str, float | None]
    protocol: dict[str, str] = {}


def read_run(path: Path) -> RunFolder:
    """Read and check a run folder, which a stranger may have written.

    Raises ArtifactError naming what is missing, was changed, or is not of the form that lorarec writes.
    """
    with reading(path):
        sums = check_checksums(path)
    with reading(path / layout.CATALOG) as file:
        table = read_parquet(file)
        _check_texts(table)
        catalog = Catalog.of_arrow(table)
        counts, features = _counts(table), _features(table)
    with reading(path / layout.STATISTICS) as file:
        numbers = read_json(file)
        if "label_values" in numbers:  # the name up to format 2
            numbers["label_levels"] = numbers.pop("label_values")
        statistics = Statistics(
            item_counts=counts,
            user_counts=np.empty(0, np.int64),
            item_features=features,
            **_Numbers.model_validate(numbers).model_dump(),
        )
    with reading(path / layout.METRICS) as file:
        _Metrics.model_validate(metrics := read_json(file))
    with reading(path / layout.ENVIRONMENT) as file:
        if not isinstance(environment := read_json(file), dict):
            raise ValueError("it holds no settings")
    vectors, calibrations = path / layout.ITEM_VECTORS, [path / name for name in sums if layout.is_calibration(name)]
    return RunFolder(
        path=path,
        catalog=catalog,
        statistics=statistics,
        metrics=metrics,
        environment=environment,
        head_weights=load_weights(path / layout.HEAD),
        item_vectors=_item_vectors(vectors, len(catalog)) if vectors.exists() else None,
        calibration=_calibration(calibrations[0]) if calibrations else None,
    )


@contextmanager
def reading(file: Path) -> Iterator[Path]:
    """Raise an ArtifactError that names the file for everything by which reading its content may fail."""
    try:
        yield file
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg'][:200]}"
        raise _not_as_written(file, reason) from error
    except (ValueError, TypeError, LookupError, AttributeError, OSError, OverflowError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise _not_as_written(file, reason) from error


@contextmanager
def using(run: Path) -> Iterator[None]:
    """Raise an ArtifactError that names the run for every error of the block that no check has foreseen: a stranger may
    have written any setting or value into the folder. A plugin's own error is raised as its PluginError."""
    try:
        yield
    except LorarecError:
        raise
    except Exception as error:
        if is_of_the_machine(error):
            raise
        if fault := fault_of(error):
            raise fault from error
        raise ArtifactError(
            f"{run}: it holds a setting or value that cannot be used here ({described(error)}). Restore its files, or "
            "train it again; if nothing was changed, LORAREC_TRACEBACK=1 shows where it fails."
        ) from error


def _not_as_written(file: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{file}: not as it was written ({reason}). Train the run again, or restore the file.")


def _check_texts(table: pa.Table) -> None:
    for name in ("item", "title", "text"):
        column = table.column(name)
        if column.null_count or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise ValueError(f"column '{name}' holds other values than texts")
    if not len(table) or pc.count_distinct(table.column("item")).as_py() < len(table):
        raise ValueError("it holds no items, or one twice")


def _counts(table: pa.Table) -> np.ndarray:
    """[N] int64 training events."""
    column = table.column("training_events")
    if column.null_count or not pa.types.is_integer(column.type) or pc.min(column).as_py() < 0:
        raise ValueError("column 'training_events' holds no numbers of events")
    counts: np.ndarray = column.to_numpy().astype(np.int64)  # a copy: torch wants it writable
    return counts


def _features(table: pa.Table) -> dict[str, np.ndarray]:
    """[N, F] float32 by name, from columns of lists of equal length."""
    features = {}
    for name in table.column_names:
        if name.startswith(layout.FEATURES):
            flat = table.column(name).combine_chunks().flatten()
            if flat.type != pa.float32() or flat.null_count or not np.isfinite(flat.to_numpy()).all():
                raise ValueError(f"column '{name[:100]}' holds no lists of finite numbers")
            matrix = flat.to_numpy().reshape(len(table), -1)
            features[name.removeprefix(layout.FEATURES)] = np.array(matrix)  # a copy: torch wants it writable
    return features


def _item_vectors(file: Path, items: int) -> Tensor:
    with reading(file):
        vectors = load_weights(file)["item_vectors"]
        if vectors.dim() != 2 or len(vectors) != items or vectors.dtype != torch.float32:
            raise ValueError(f"it holds {vectors.dtype} of shape {tuple(vectors.shape)} for {items:,} items")
    return vectors


def _calibration(file: Path) -> Calibration:
    with reading(file):
        return Calibration.of(read_json(file))


class KeptScores(NamedTuple):
    """Scores of each test example, in order, so that runs can be compared row by row. No histories or items are
    stored, and users are anonymous numbers."""

    users: np.ndarray
    """[n] int64; examples of the same user share a number."""
    columns: Mapping[str, np.ndarray]
    """[n] by name, as the head's predictor writes and reads them."""


def read_test_scores(run: Path) -> KeptScores:
    """Read the file of `RunWriter.write_test_scores`. Raises ArtifactError if it is not of that form."""
    with reading(run / layout.TEST_SCORES) as file:
        table = read_parquet(file)
        for name, column in zip(table.column_names, table.columns, strict=True):
            if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
                raise ValueError(f"column '{name[:100]}' holds no numbers")
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        users = columns.pop(layout.USER)
        if users.dtype.kind != "i" or (len(users) and not 0 <= users.min() <= users.max() < len(users)):
            raise ValueError("column 'user' holds no numbers of users")
    return KeptScores(users, columns)

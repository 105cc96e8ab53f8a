"""Train a recipe once for each seed, and report mean and standard deviation of its metrics."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lorarec.artifact import layout
from lorarec.artifact.reader import read_run
from lorarec.artifact.writer import check_new_folder, remove_checkpoints
from lorarec.errors import RecipeError
from lorarec.evaluation.protocol import differences
from lorarec.pipeline.assemble import open_recipe
from lorarec.pipeline.stopped_run import check_same_recipe
from lorarec.pipeline.train import train
from lorarec.registry.resolve import full_recipe

KEY = "seeds="
_log = logging.getLogger(__name__)


class Spread(NamedTuple):
    """One metric over the seeds."""

    part: str
    metric: str
    values: list[float]
    """In the order of the seeds."""

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation of the values, with n - 1."""
        return float(np.std(self.values, ddof=1))


@dataclass(frozen=True)
class SeedsReport:
    """Metrics of the runs of several seeds."""

    seeds: Sequence[int]
    folders: Sequence[Path]
    spreads: Sequence[Spread]
    one_split: bool
    """Whether all runs were trained and evaluated on the same rows: each seed draws a different random split, and
    different items if evaluation samples them."""


def seeds_of(overrides: Sequence[str]) -> tuple[list[int], list[str]]:
    """The seeds of the override `seeds=1,2,3` (none without it), and the other overrides.

    Raises RecipeError if they are not at least two different whole numbers, or if `seed=` is given as well.
    """
    given = [override for override in overrides if override.startswith(KEY)]
    rest = [override for override in overrides if not override.startswith(KEY)]
    if not given:
        return [], rest
    words = given[-1].removeprefix(KEY).strip("[] ").split(",")
    if not all(re.fullmatch(r"\s*[0-9]{1,19}\s*", word) for word in words):
        raise RecipeError(f"override '{given[-1]}': give whole numbers with commas between them: seeds=1,2,3.")
    seeds = [int(word) for word in words]
    if len(set(seeds)) < max(2, len(seeds)):
        raise RecipeError(f"override '{given[-1]}': give at least two different seeds; for one write seed=1.")
    if any(override.startswith("seed=") for override in rest):
        raise RecipeError("seed and seeds are both given. Leave one of them out.")
    return seeds, rest


def train_seeds(
    recipe: str | Path | Mapping[str, Any],
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    *,
    output: str | Path | None = None,
    resume: bool = False,
) -> SeedsReport:
    """Train once for each seed, into OUTPUT-seed1 and so on (runs/NAME-seed1 by default).

    `resume`: finished runs are kept, and a stopped one continues. Raises the errors of `train`, and CheckpointError,
    before anything is trained, if a finished run has another recipe.
    """
    base = Path(output) if output else Path("runs") / open_recipe(recipe, overrides).recipe.name
    folders = [base.with_name(f"{base.name}-seed{seed}") for seed in seeds]
    for seed, folder in zip(seeds, folders, strict=True):  # before the first run is trained
        if not resume:
            check_new_folder(folder)
        elif (folder / layout.METRICS).exists():
            check_same_recipe(folder, full_recipe(open_recipe(recipe, [*overrides, f"seed={seed}"])))
    for seed, folder in zip(seeds, folders, strict=True):
        if resume and (folder / layout.METRICS).exists():
            remove_checkpoints(folder)  # of a process that was killed while it did this
            _log.warning("%s is already finished and is kept.", folder)
            continue
        train(recipe, [*overrides, f"seed={seed}"], output=folder, resume=resume and layout.unfinished(folder).exists())
    return summarize(seeds, folders)


def summarize(seeds: Sequence[int], folders: Sequence[Path]) -> SeedsReport:
    """The report of finished runs, one for each seed."""
    runs = [json.loads((read_run(folder).path / layout.METRICS).read_text(encoding="utf-8")) for folder in folders]
    spreads = [
        Spread(part, label, [float(metrics[part][label]) for metrics in runs])
        for part in ("validation", "test")
        for label in runs[0][part]
    ]
    one_split = not any(differences(runs[0]["protocol"], metrics["protocol"]) for metrics in runs[1:])
    return SeedsReport(list(seeds), list(folders), spreads, one_split)

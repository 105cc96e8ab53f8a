"""Compare finished runs: the difference of each metric on the same test rows, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lorarec.artifact import layout
from lorarec.artifact.reader import KeptScores, RunFolder, read_run, read_test_scores, using
from lorarec.contracts import Metric, MetricInputs, Predictor
from lorarec.errors import ArtifactError, DataError
from lorarec.evaluation.intervals import METHOD, Resamples, Statistic, interval, is_slow, resampled, statistic
from lorarec.evaluation.metrics import NamedMetric
from lorarec.evaluation.protocol import SPLIT_FINGERPRINT, differences
from lorarec.pipeline.assemble import named_metrics
from lorarec.pipeline.load import open_run_recipe
from lorarec.registry.faults import plugin_faults
from lorarec.registry.resolve import ResolvedRecipe


class Difference(NamedTuple):
    """Comparison of a run with the first one in one metric of the test part."""

    run: str
    metric: str
    first: float
    value: float
    low: float | None
    high: float | None
    """Interval of `value - first`; None if it has none."""
    better: float | None
    """Share of the resamples in which the run is better than the first one."""


@dataclass(frozen=True)
class Comparison:
    """Report of `lorarec compare`."""

    first: str
    rows: Sequence[Difference]
    over: str
    """The unit of resampling."""
    resamples: int
    remarks: Sequence[str]
    """Metrics that could not be compared row by row, and why; runs that were trained on different rows or texts."""

    def notes(self) -> list[str]:
        """How the intervals were computed, and the remarks, as sentences."""
        return [f"Paired {METHOD} of the difference over {self.over}, {self.resamples:,} resamples.", *self.remarks]


@dataclass(frozen=True)
class _Run:
    name: str
    folder: RunFolder
    metrics: list[NamedMetric]
    kept: KeptScores
    resolved: ResolvedRecipe

    @cached_property
    def predictor(self) -> Predictor:
        return self.resolved.head.predictor(self.resolved.head)

    def value(self, label: str) -> float:
        with using(self.folder.path):
            return float(self.folder.metrics["test"][label])

    def statistic(self, metric: Metric) -> Statistic:
        return statistic(metric, *self.predictions(metric), self.kept.users)

    def predictions(self, metric: Metric) -> MetricInputs:
        with using(self.folder.path):
            return self.predictor.stored_metric_inputs(metric, self.kept.columns)


@plugin_faults()
def compare(runs: Sequence[str | Path]) -> Comparison:
    """Compare each run with the first, on the same resamples of the same test rows.

    Raises ArtifactError naming the differences if runs were evaluated on different rows or by different rules, or share
    no metric. Their training data may differ (fewer rows, other texts): the remarks say so.
    """
    if len(runs) < 2:
        raise DataError("There is nothing to compare: name at least two runs.")
    opened = [_open(Path(run)) for run in runs]
    with plugin_faults([plugin for run in opened for plugin in run.resolved.plugins()]):
        return _compared(opened)


def _compared(opened: Sequence[_Run]) -> Comparison:
    first, others = opened[0], opened[1:]
    for other in others:
        _refuse_other_rules(first, other)
        _refuse_other_rows(first, other)
    shared, left_out = _shared_metrics(opened)
    remarks = [*left_out, *(_other_data(first, other) for other in others if _split(first) != _split(other))]
    resamples = Resamples.of(first.kept.users)
    values = {label: _on_resamples(opened, metric, resamples) for label, metric in shared}
    rows = [
        _difference(first, other, label, metric.higher_is_better, values[label][0], values[label][index])
        for label, metric in shared
        for index, other in enumerate(others, start=1)
    ]
    return Comparison(first.name, rows, resamples.over, resamples.count, remarks)


def _open(path: Path) -> _Run:
    folder = read_run(path)
    with using(path):
        return _opened(folder)


def _opened(folder: RunFolder) -> _Run:
    path = folder.path
    if "protocol" not in folder.metrics:
        raise ArtifactError(
            f"{path}: {layout.METRICS} does not contain the protocol of the evaluation, because it was written by an "
            "earlier version of lorarec. Train the run again."
        )
    if not (path / layout.TEST_SCORES).exists():
        raise ArtifactError(f"{path} has no test part ({layout.TEST_SCORES} is missing): there is nothing to compare.")
    resolved = open_run_recipe(folder)
    metrics = named_metrics(resolved, len(folder.catalog))
    kept = read_test_scores(path)
    return _Run(str(path), folder, metrics, kept, resolved)


def _refuse_other_rules(first: _Run, other: _Run) -> None:
    other_rules = differences(first.folder.metrics["protocol"], other.folder.metrics["protocol"])
    if any(not rule.startswith(SPLIT_FINGERPRINT) for rule in other_rules):
        listed = "\n  ".join(other_rules)
        raise ArtifactError(
            f"{first.name} and {other.name} cannot be compared, because they were evaluated differently:\n  {listed}\n"
            "Train one of them again with the other's data section and task."
        )


def _refuse_other_rows(first: _Run, other: _Run) -> None:
    """The protocols agree, so that only a changed file can hold the scores of other rows."""
    if not np.array_equal(first.kept.users, other.kept.users):
        raise ArtifactError(
            f"{first.name} and {other.name} cannot be compared: their files {layout.TEST_SCORES} hold other rows, "
            "though both were evaluated on the same. Restore the file that was changed, or train that run again."
        )


def _split(run: _Run) -> str:
    return str(run.folder.metrics["protocol"][SPLIT_FINGERPRINT])


def _other_data(first: _Run, other: _Run) -> str:
    return (
        f"{other.name} was evaluated on the same rows as {first.name}, but trained on different data: rows of training "
        "or validation, or texts of items, differ "
        f"({SPLIT_FINGERPRINT} {_split(other)[:16]}, not {_split(first)[:16]})."
    )


def _shared_metrics(runs: Sequence[_Run]) -> tuple[list[NamedMetric], list[str]]:
    """Metrics that every run has and that can be computed from the stored scores; and why others are left out."""
    common = set.intersection(*({label for label, _ in run.metrics} for run in runs))
    shared, left_out = [], []
    for label, metric in runs[0].metrics:
        if label not in common:
            left_out.append(f"{label} is left out: not every run has it.")
        elif not all(_is_reproduced(run, label, metric) for run in runs):
            left_out.append(f"{label} is left out: it cannot be computed from the stored scores of each row.")
        else:
            shared.append(NamedMetric(label, metric))
    if not shared:
        raise ArtifactError(
            "The runs share no metric that can be compared row by row. Their metrics: "
            + "; ".join(", ".join(label for label, _ in run.metrics) for run in runs)
            + ". Train them with the same evaluate.metrics."
        )
    return shared, left_out


def _is_reproduced(run: _Run, label: str, metric: Metric) -> bool:
    """Whether the stored scores give the run's value of the metric; a metric of item numbers would differ."""
    if not run.predictor.has_interval(metric):
        return False
    predictions, references = run.predictions(metric)
    result = metric.module().compute(predictions=predictions, references=references, users=run.kept.users)
    return bool(np.isclose(result[metric.name], run.value(label), rtol=1e-9, atol=1e-12, equal_nan=True))


def _on_resamples(runs: Sequence[_Run], metric: Metric, resamples: Resamples) -> list[np.ndarray]:
    statistics = {str(index): run.statistic(metric) for index, run in enumerate(runs)}
    slow = list(statistics) if is_slow(metric, runs[0].kept.users) else []
    return list(resampled(statistics, slow, resamples).values())


def _difference(
    first: _Run, other: _Run, label: str, higher: bool, before: np.ndarray, after: np.ndarray
) -> Difference:
    differences = after - before
    bounds = interval(differences)
    if bounds is None:
        return Difference(other.name, label, first.value(label), other.value(label), None, None, None)
    defined = differences[~np.isnan(differences)]
    better = float(np.mean(defined > 0 if higher else defined < 0))
    return Difference(other.name, label, first.value(label), other.value(label), *bounds, better)

"""Bootstrap intervals: how far a metric would move with another sample of users (Efron, Annals of Statistics 1979)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lorarec.contracts import Examples, Metric, Predictions
from lorarec.contracts.metric import read_only
from lorarec.data.streams import Purpose, generator
from lorarec.errors import PluginError
from lorarec.evaluation.metrics import NamedMetric

LEVEL = 0.95
METHOD = "percentile bootstrap"
RESAMPLES, RESAMPLES_MIN = 1000, 200
DRAWN = 10**8
"""Rows drawn for a metric, above which the number of resamples falls from RESAMPLES toward RESAMPLES_MIN."""
CELLS = 2**21
"""Weights held in memory at once: a block of resamples times the rows."""
RECOMPUTED = 100
"""Resamples of a metric without `weighted`, which must be recomputed on each."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights [b, n] of b resamples -> [b] the metric on each."""


@dataclass(frozen=True)
class Resamples:
    """Samples of a part's rows, drawn with replacement: whole users, since the rows of a user are correlated."""

    group: np.ndarray
    """[n] int64 the unit that each row belongs to, numbered from 0."""
    units: int
    count: int
    over: str
    """What was drawn, for people to read."""
    seed: int = 0

    @classmethod
    def of(cls, users: np.ndarray, seed: int = 0) -> Resamples:
        """Resamples of users [n]; of rows where there is only one user, who cannot be resampled."""
        _, group = np.unique(users, return_inverse=True)
        rows, units = len(users), int(group.max(initial=-1)) + 1
        count = min(RESAMPLES, max(RESAMPLES_MIN, DRAWN // max(rows, 1)))
        if units == 1:
            return cls(np.arange(rows), rows, count, f"{rows:,} rows of one user", seed)
        over = f"{units:,} users" if units < rows else f"{rows:,} rows, each a user's only one"
        return cls(group, units, count, over, seed)

    def weights(self) -> Iterator[np.ndarray]:
        """[b, n] float64 how often each row occurs in each of the next b resamples; the same in every call."""
        draw = generator(self.seed, Purpose.BOOTSTRAP)
        block = max(1, CELLS // max(len(self.group), 1))
        for start in range(0, self.count, block):
            size = min(block, self.count - start)
            drawn = draw.integers(self.units, size=(size, self.units)) + np.arange(size)[:, None] * self.units
            counts = np.bincount(drawn.ravel(), minlength=size * self.units).reshape(size, self.units)
            yield counts[:, self.group].astype(np.float64)


def statistic(metric: Metric, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> Statistic:
    """The metric as a function of how often each row occurs; recomputed where it cannot be weighted."""
    predictions, references, users = map(read_only, (predictions, references, users))
    if is_slow(metric, users) or metric.weighted(predictions, references, users, np.ones((1, len(users)))) is None:
        return lambda weights: _recomputed(metric, predictions, references, users, weights)

    def weighted(weights: np.ndarray) -> np.ndarray:
        values: Any = metric.weighted(predictions, references, users, weights)
        if not isinstance(values, np.ndarray) or values.shape != (len(weights),) or values.dtype.kind != "f":
            what = (
                f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            )
            raise PluginError(
                f"metric '{metric.name}': `weighted` gives {what} for {len(weights)} samples of the rows: it must be "
                "one float for each."
            )
        return values

    return weighted


def resampled(statistics: Mapping[str, Statistic], slow: Sequence[str], resamples: Resamples) -> dict[str, np.ndarray]:
    """[R] each statistic on the same resamples; those in `slow` on the first RECOMPUTED of them only."""
    values: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    done = 0
    for weights in resamples.weights():
        for name, measure in statistics.items():
            left = RECOMPUTED - done if name in slow else len(weights)
            if left > 0:
                values[name].append(measure(weights[:left]))
        done += len(weights)
    return {name: np.concatenate(blocks) for name, blocks in values.items()}


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The central LEVEL of the values [R]; None where the metric of most resamples is NaN (AUC of one class)."""
    known = values[~np.isnan(values)]
    if not len(known) or len(known) * 2 < len(values):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def is_slow(metric: Metric, users: np.ndarray) -> bool:
    """Whether the metric must be recomputed on each resample: it has no `weighted` or `gains`, or rows are drawn, since
    all are of one user, while `Metric.weighted` takes weights of whole users."""
    given = type(metric)
    has_formula = given.weighted is not Metric.weighted or given.gains is not Metric.gains
    return not has_formula or (len(users) > 0 and bool((users == users[0]).all()))


def metric_intervals(
    predictions: Predictions, examples: Examples, metrics: Sequence[NamedMetric], seed: int
) -> dict[str, Any]:
    """What was drawn (`over`), and under `metrics` low, high and resamples by name.

    A metric for which the predictor's `has_interval` is false has none.
    """
    users, predictor = examples.users[predictions.rows], examples.predictor
    resamples = Resamples.of(users, seed)
    evaluated = [named for named in metrics if predictor.has_interval(named.metric)]
    measures = {
        label: statistic(metric, *predictor.metric_inputs(metric, predictions, examples), users)
        for label, metric in evaluated
    }
    by_metric = resampled(measures, [label for label, metric in evaluated if is_slow(metric, users)], resamples)
    bounds: dict[str, Any] = {}
    for label, values in by_metric.items():
        between = interval(values)
        if between is not None:
            bounds[label] = {"low": between[0], "high": between[1], "resamples": len(values)}
    return {"over": resamples.over, "metrics": bounds}


def _recomputed(
    metric: Metric, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    values = np.full(len(weights), np.nan)
    for sample, row in enumerate(weights):
        drawn = np.repeat(np.arange(len(row)), row.astype(np.int64))
        computed = metric.module().compute(
            predictions=predictions[drawn], references=references[drawn], users=users[drawn]
        )
        values[sample] = computed[metric.name]
    return values

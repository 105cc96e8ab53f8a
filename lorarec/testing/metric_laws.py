"""check_metric: what every metric must do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lorarec.contracts import Metric
from lorarec.testing.plugin_laws import check_plugin

K = 3
CATALOG = 12

Cases = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Perfect predictions, the worst ones, and the references [n] of both."""


def check_metric(metric_class: type[Metric], cases: Cases | None = None, **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the metric breaks.

    The module's result holds a finite number under the metric's name; perfect predictions are no worse than
    the worst ones, in the direction the metric declares; the order of the rows does not matter; `weighted`, where there
    is one, gives the same number for rows that stand there once. `cases` are needed where a metric reads what only
    predictors of another package give; `options` are settings as in a recipe.
    """
    check_plugin(metric_class)
    config = metric_class.Config.model_validate(options)
    metric = metric_class(config, k=K if metric_class.takes_k else None, catalog_size=CATALOG)
    good, bad, references = cases or _cases(metric_class.reads)
    users = np.arange(len(references)) // 4
    best, worst = (_value(metric, predictions, references, users) for predictions in (good, bad))
    assert math.isfinite(best) and math.isfinite(worst), f"'{metric.name}' is not a finite number"
    better = best >= worst if metric.higher_is_better else best <= worst
    better |= math.isclose(best, worst, rel_tol=1e-6, abs_tol=1e-9)
    assert better, f"perfect predictions get {best:.3g}, the worst {worst:.3g}: is higher_is_better right?"
    order = np.random.default_rng(0).permutation(len(references))
    again = _value(metric, bad[order], references[order], users[order])
    assert math.isclose(again, worst, rel_tol=1e-6, abs_tol=1e-9), "the order of the rows changes the result"
    once = metric.weighted(bad, references, users, np.ones((1, len(users))))
    agrees = once is None or math.isclose(float(once[0]), worst, rel_tol=1e-6, abs_tol=1e-9)
    assert agrees, (
        f"`weighted` gives {once} where the metric is {worst:.6g}: intervals would be those of another metric"
    )


def _value(metric: Metric, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
    result = metric.module().compute(predictions=predictions, references=references, users=users)
    assert metric.name in result, f"compute must return the key '{metric.name}', but returned {result}"
    return float(result[metric.name])


def _cases(reads: str) -> Cases:
    """For what the metric reads."""
    assert reads in CASES, f"give `cases`: what predictions '{reads}' look like, only their predictor knows"
    return CASES[reads]()


def _scores() -> Cases:
    truth = np.tile([0.0, 1.0, 1.0, 0.0], 3)
    return np.clip(truth, 0.01, 0.99), np.clip(1 - truth, 0.01, 0.99), truth


def _ranks() -> Cases:
    return np.zeros(CATALOG, np.int64), np.full(CATALOG, CATALOG - 1), np.arange(CATALOG)


def _lists() -> Cases:
    items = np.arange(CATALOG)
    lists = (items[:, None] + np.arange(K)) % CATALOG
    return lists, np.tile((items[0] + 1 + np.arange(K)) % CATALOG, (CATALOG, 1)), items


CASES: dict[str, Callable[[], Cases]] = {"scores": _scores, "ranks": _ranks, "lists": _lists}

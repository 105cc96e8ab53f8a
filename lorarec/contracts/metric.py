"""Metric: a number that evaluates predictions, also available as a metric of Hugging Face's `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lorarec.contracts.plugin import Plugin
from lorarec.errors import PluginError

if TYPE_CHECKING:
    import evaluate


class Metric(Plugin):
    """Named in a recipe by `name`, or `name@k` if `takes_k` is set. Defines `value`, or `weighted`, or both.

    Their arguments depend on `reads`, one of the names that the head's predictor gives (`Predictor.reads`). Other
    predictors may add more; those of lorarec are:

    - "scores": `predictions` [n] float (the head's scores: stars, probabilities), `references` [n] float, `users`
      [n] int.
    - "ranks": `predictions` [n] int, the zero-based rank of the held-out item in the whole catalog; `references`
      [n] int, the row of that item; `users` [n] int.
    - "lists": `predictions` [n, k] int, the catalog rows recommended, best first; `references` [n] int, the row
      of the held-out item; `users` [n] int.

    In addition to `name` and `summary`, a metric sets `reads` and `higher_is_better`.
    """

    reads: ClassVar[str]
    higher_is_better: ClassVar[bool]
    takes_k: ClassVar[bool] = False
    label: ClassVar[str | None] = None
    """The label that it can evaluate, such as "click" if it needs two classes; None: any."""

    def __init__(self, config: Metric.Config, k: int | None = None, catalog_size: int | None = None) -> None:
        super().__init__(config)
        self.k = k
        self.catalog_size = catalog_size

    def value(self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
        """The metric of n rows. By default, `weighted` with every row once."""
        values = self.weighted(predictions, references, users, np.ones((1, len(references))))
        if values is None:
            raise PluginError(f"metric '{self.name}' defines neither `value` nor `weighted`. Define one of them.")
        return float(values[0])

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray | None:
        """[R] the metric on R samples of the rows at once; sample r contains row i `weights[r, i]` times [R, n].

        Samples contain all rows of a user equally often. None, the default, if there is no such formula: an interval
        then computes `value` on every sample, of which there are fewer. Not called for metrics without an interval
        (`Predictor.has_interval`), such as those of lists.
        """
        return None

    def module(self) -> evaluate.Metric:
        """The metric as a metric of `evaluate`, in memory (no download, no file). Its `compute` takes `users` in
        addition to predictions and references, and returns a dict with the key `name`."""
        return _in_memory(self)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[R] the mean of values [n] on samples that contain row i `weights[r, i]` times [R, n]."""
    return weighted_ratio(values, np.ones(len(values)), weights)


def weighted_ratio(above: np.ndarray, below: np.ndarray, weights: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """[R] the sum of `above` [n] over that of `below` [n] on each sample; `empty` if the latter is 0."""
    # No matrix product: its rounding depends on the number of threads, and metrics must not.
    tops, bottoms = (weights * above).sum(axis=1), (weights * below).sum(axis=1)
    return np.asarray(np.divide(tops, bottoms, out=np.full(len(tops), empty), where=bottoms > 0))


def _in_memory(metric: Metric) -> evaluate.Metric:
    import evaluate  # takes seconds
    from datasets import Features, Sequence, Value

    of_rows = {"ranks": Value("int64"), "lists": Sequence(Value("int64"))}
    columns = {
        "predictions": of_rows.get(metric.reads, Value("float64")),
        "references": Value("int64" if metric.reads in of_rows else "float64"),
    }

    class InMemory(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=metric.summary,
                citation=metric.paper,
                inputs_description=f"Reads {metric.reads}; see lorarec.contracts.Metric.",
                features=Features(columns),
            )

        def _compute(self, predictions: Any, references: Any, users: Any = None) -> dict[str, float]:
            # Lists, not evaluate's own `format="numpy"`: that rounds to float32, which makes ties.
            given = (np.asarray(values) for values in (predictions, references, users))
            return {metric.name: float(metric.value(*given))}

    module = InMemory(keep_in_memory=True, seed=0)
    module.info.module_name = metric.name  # evaluate would name it after the class
    return module

"""ArrayMetric: a function over arrays as Hugging Face's `evaluate` knows metrics, made in memory.

Imported only when a metric is computed: `evaluate` takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Sequence, Value

from lorarec.contracts import Metric

_PREDICTIONS = {"scores": Value("float64"), "ranks": Value("int64"), "lists": Sequence(Value("int64"))}


class ArrayMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """Hands predictions, references and (where `users` is set) users to `function` as arrays.

    Nothing is written to disk: several processes and several metrics of one name never meet in a cache.
    """

    def __init__(self, metric: Metric, function: Callable[..., float], users: bool = False) -> None:
        self._metric = metric
        self._function = function
        self._users = users
        super().__init__(keep_in_memory=True, seed=0)
        self.info.module_name = metric.name  # evaluate would name it after this class

    def _info(self) -> evaluate.MetricInfo:
        references = Value("float64" if self._metric.reads == "scores" else "int64")
        features = {"predictions": _PREDICTIONS[self._metric.reads], "references": references}
        if self._users:
            features["users"] = Value("int64")
        return evaluate.MetricInfo(
            description=self._metric.summary,
            citation=self._metric.paper,
            inputs_description=f"Reads {', '.join(features)}; see lorarec.contracts.Metric.",
            features=Features(features),
        )

    def _compute(self, predictions: Any, references: Any, users: Any = None) -> dict[str, float]:
        # Lists, not evaluate's own `format="numpy"`: that rounds to float32, which makes ties.
        given = (np.asarray(predictions), np.asarray(references))
        value = self._function(*given, np.asarray(users)) if self._users else self._function(*given)
        return {self._metric.name: float(value)}

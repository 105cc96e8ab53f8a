"""Metric: a number that evaluates predictions, also available as a metric of Hugging Face's `evaluate`."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from lorarec.contracts.plugin import Plugin
from lorarec.data.streams import Purpose, generator
from lorarec.errors import PluginError

if TYPE_CHECKING:
    import evaluate

DRAWN = 100
"""Random orders of ties over which a metric without `gains` is averaged."""


class Metric(Plugin):
    """Named in a recipe by `name`, or `name@k` if `takes_k` is set. Defines `value`, `weighted` or `gains`.

    Their arguments depend on `reads`, one of the names that the head's predictor gives (`Predictor.reads`). Other
    predictors may add more; those of lorarec are:

    - "scores": `predictions` [n] float (the head's scores: stars, probabilities), `references` [n] float, `users`
      [n] int.
    - "ranks": `predictions` [n] int, the zero-based rank of the held-out item in the whole catalog; `references`
      [n] int, the row of that item; `users` [n] int. A mean over rows defines `gains` alone.
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
            raise PluginError(
                f"metric '{self.name}' defines neither `value` nor `weighted` nor `gains`. Define one of them."
            )
        return float(values[0])

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray | None:
        """[R] the metric on R samples of the rows at once; sample r contains row i `weights[r, i]` times [R, n].

        Samples contain all rows of a user equally often. By default, the mean of the `gains`; None if there is no such
        formula: an interval then computes `value` on every sample, of which there are fewer. Not called for metrics
        without an interval (`Predictor.has_interval`), such as those of lists.
        """
        gains = self.gains(predictions) if self.reads == "ranks" else None
        return None if gains is None else weighted_mean(gains, weights)

    def gains(self, ranks: np.ndarray) -> np.ndarray | None:
        """[n] what rows with these ranks [n] contribute to a metric that "ranks" alone determine and that is the mean
        of them; None, the default, if it is not. It gives a baseline, whose scores often tie, its expected value."""
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


def expected_over_ties(
    metric: Metric, ranks: np.ndarray, ties: np.ndarray, references: np.ndarray, users: np.ndarray
) -> float:
    """The expected value of a metric of ranks if items of equal scores are in random order (McSherry and Najork, ECIR
    2008): exact where it has `gains`, else the mean over DRAWN random orders.

    `ranks` [n] are the held-out items' worst ones, and `ties` [n] the numbers of other items with the same score.
    """
    gains = metric.gains(np.arange(int(ranks.max(initial=0)) + 1))
    if gains is not None:
        total = np.concatenate(([0.0], np.cumsum(gains)))
        mean = (total[ranks + 1] - total[ranks - ties]) / (ties + 1)
        return float(np.where(ties > 0, mean, gains[ranks]).mean())
    draw = generator(0, Purpose.TIED_RANKS)
    orders = (ranks - draw.integers(0, ties + 1) for _ in range(DRAWN))
    return float(np.mean([metric.value(order, references, users) for order in orders]))


def _number(metric: Metric, value: Any) -> float:
    """The value of a metric. Raises PluginError for anything else than one number."""
    if isinstance(value, Tensor | np.ndarray) and value.shape == ():
        value = value.item()
    if isinstance(value, Real):
        return float(value)
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor | np.ndarray) else ""
    raise PluginError(f"metric '{metric.name}' gives a {type(value).__name__}{shape}: its `value` must be one number.")


def read_only(array: np.ndarray) -> np.ndarray:
    """The array for a metric, which raises an error if it changes what other metrics read as well."""
    view = array.view()
    view.flags.writeable = False
    return view


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
            return {metric.name: _number(metric, metric.value(*given))}

    module = InMemory(keep_in_memory=True, seed=0)
    module.info.module_name = metric.name  # evaluate would name it after the class
    return module

"""Metric: a number about predictions, computed by an in-memory `evaluate.Metric`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from lorarec.contracts.plugin import Plugin

if TYPE_CHECKING:
    import evaluate
    import numpy as np


class Metric(Plugin):
    """Named in a recipe by `name`, or `name@k` where `takes_k` is set.

    What the module's `compute` is given depends on `reads`, one of the names that the head's predictor gives
    (`Predictor.reads`); each family of answers may have its own. Ours are:

    - "scores": `predictions` [n] float (the head's scores: stars, probabilities), `references` [n] float, `users`
      [n] int.
    - "ranks": `predictions` [n] int, the zero-based rank of the held-out item in the whole catalogue; `references`
      [n] int, the row of that item; `users` [n] int.
    - "lists": `predictions` [n, k] int, the catalogue rows recommended, best first; `references` [n] int, the row
      of the held-out item; `users` [n] int.

    It returns a dict with the key `name`. Beside `name` and `summary`, a metric sets `reads` and `higher_is_better`.
    """

    reads: ClassVar[str]
    higher_is_better: ClassVar[bool]
    takes_k: ClassVar[bool] = False
    label: ClassVar[str | None] = None
    """The label it can judge, such as "click" where there must be two classes; None: any."""

    def __init__(self, config: Metric.Config, k: int | None = None, catalog_size: int | None = None) -> None:
        super().__init__(config)
        self.k = k
        self.catalog_size = catalog_size

    @abstractmethod
    def module(self) -> evaluate.Metric:
        """The metric as Hugging Face's `evaluate` knows it, made in memory (nothing is fetched)."""

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray | None:
        """[R] the metric on R samples of the rows at once, row i standing `weights[r, i]` times in sample r [R, n].

        Samples hold each user's rows equally often. None, the default, where there is no such formula: an interval
        then computes `module` anew on every sample, of which there are fewer. Not asked where
        the predictor says that there is no interval (`Predictor.has_interval`), as with lists.
        """
        return None

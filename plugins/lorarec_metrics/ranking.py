"""The rank of the held-out item in the whole catalog, and how much of the catalog is recommended.

One held-out item per row. Ranks are zero-based and already count ties against the model; baselines have their expected
value over ties. The whole catalog is ranked, since sampled ranking can reorder models (Krichene and Rendle, KDD 2020).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl


class HitRate(Metric):
    """Hit rate."""

    name = "hr"
    summary = "share of held-out items among the first k"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def gains(self, ranks: np.ndarray) -> np.ndarray:
        return (ranks < _k(self)).astype(np.float64)


class Ndcg(Metric):
    """Normalized discounted cumulative gain: with one relevant item the ideal gain is 1."""

    name = "ndcg"
    summary = "normalized discounted cumulative gain of the first k"
    paper = "Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def gains(self, ranks: np.ndarray) -> np.ndarray:
        return np.where(ranks < _k(self), 1 / np.log2(ranks + 2.0), 0)


class Mrr(Metric):
    """Mean reciprocal rank."""

    name = "mrr"
    summary = "mean reciprocal rank, 0 beyond the first k"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def gains(self, ranks: np.ndarray) -> np.ndarray:
        return _reciprocals(ranks, _k(self))


class Recall(Metric):
    """Recall."""

    name = "recall"
    summary = "share of held-out items among the first k (with one item per row, the hit rate)"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def gains(self, ranks: np.ndarray) -> np.ndarray:
        return (ranks < _k(self)).astype(np.float64)


class Precision(Metric):
    """Precision: at most 1/k with one held-out item per row."""

    name = "precision"
    summary = "share of the first k items that are held-out items"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def gains(self, ranks: np.ndarray) -> np.ndarray:
        return (ranks < _k(self)) / _k(self)


class MeanAveragePrecision(Metric):
    """Mean average precision."""

    name = "map"
    summary = "mean average precision of the first k (with one item per row, the reciprocal rank)"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def gains(self, ranks: np.ndarray) -> np.ndarray:
        return _reciprocals(ranks, _k(self))


class Coverage(Metric):
    """Catalog coverage: the share of the catalog that is in at least one list [n, k]; rows below 0 are empty."""

    name = "coverage"
    summary = "share of the catalog that is among the first k of any user"
    reads = "lists"
    higher_is_better = True
    takes_k = True

    def value(self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
        if not self.catalog_size:
            raise DataError("coverage needs the size of the catalog.")
        return len(np.unique(predictions[predictions >= 0])) / self.catalog_size


def _reciprocals(ranks: np.ndarray, k: int) -> np.ndarray:
    """[n] 1 / (rank + 1) where the rank is below k, else 0."""
    return np.where(ranks < k, 1 / (ranks + 1.0), 0)


def _k(metric: Metric) -> int:
    if metric.k is None:
        raise DataError(f"{metric.name} needs a cutoff k: write {metric.name}@10.")
    return metric.k


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [HitRate, Ndcg, Mrr, Recall, Precision, MeanAveragePrecision, Coverage]

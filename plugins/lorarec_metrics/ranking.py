"""How high the held-out item stands in the whole catalogue, and how much of the catalogue is recommended.

One held-out item a row. Ranks are zero-based and already count ties against the model. The whole catalogue is
ranked, since sampled ranking can reorder models (Krichene and Rendle, KDD 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lorarec.contracts import DataError, Metric, hookimpl
from lorarec_metrics.weighted_rows import weighted_mean

if TYPE_CHECKING:
    import evaluate


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """[n] 1 where the rank is below k, else 0."""
    return (ranks < k).astype(np.float64)


def gains(ranks: np.ndarray, k: int) -> np.ndarray:
    """[n] 1 / log2(rank + 2) where the rank is below k, else 0."""
    return np.where(ranks < k, 1 / np.log2(ranks + 2.0), 0)


def reciprocals(ranks: np.ndarray, k: int) -> np.ndarray:
    """[n] 1 / (rank + 1) where the rank is below k, else 0."""
    return np.where(ranks < k, 1 / (ranks + 1.0), 0)


def hit_rate(ranks: np.ndarray, references: np.ndarray, k: int) -> float:
    """Share of rows whose held-out item is among the first k."""
    return float(np.mean(hits(ranks, k)))


def ndcg(ranks: np.ndarray, references: np.ndarray, k: int) -> float:
    """1 / log2(rank + 2) where the rank is below k, else 0; with one relevant item the ideal gain is 1."""
    return float(np.mean(gains(ranks, k)))


def reciprocal_rank(ranks: np.ndarray, references: np.ndarray, k: int) -> float:
    """1 / (rank + 1) where the rank is below k, else 0."""
    return float(np.mean(reciprocals(ranks, k)))


def precision(ranks: np.ndarray, references: np.ndarray, k: int) -> float:
    """Share of the k places that hold a held-out item: at most 1/k."""
    return hit_rate(ranks, references, k) / k


def coverage(lists: np.ndarray, references: np.ndarray, catalog_size: int) -> float:
    """Share of the catalogue that is in at least one list [n, k]; places below 0 are empty."""
    return len(np.unique(lists[lists >= 0])) / catalog_size


class HitRate(Metric):
    """Hit rate."""

    name = "hr"
    summary = "share of held-out items among the first k"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        return _first_k(self, hit_rate)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(hits(predictions, _k(self)), weights)


class Ndcg(Metric):
    """Normalised discounted cumulative gain."""

    name = "ndcg"
    summary = "normalised discounted cumulative gain of the first k"
    paper = "Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        return _first_k(self, ndcg)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(gains(predictions, _k(self)), weights)


class Mrr(Metric):
    """Mean reciprocal rank."""

    name = "mrr"
    summary = "mean reciprocal rank, 0 beyond the first k"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        return _first_k(self, reciprocal_rank)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(reciprocals(predictions, _k(self)), weights)


class Recall(Metric):
    """Recall."""

    name = "recall"
    summary = "share of held-out items among the first k (with one item a row, the hit rate)"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        return _first_k(self, hit_rate)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(hits(predictions, _k(self)), weights)


class Precision(Metric):
    """Precision."""

    name = "precision"
    summary = "share of the first k places that hold a held-out item"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        return _first_k(self, precision)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(hits(predictions, _k(self)) / _k(self), weights)


class MeanAveragePrecision(Metric):
    """Mean average precision."""

    name = "map"
    summary = "mean average precision of the first k (with one item a row, the reciprocal rank)"
    reads = "ranks"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        return _first_k(self, reciprocal_rank)

    def weighted(
        self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        return weighted_mean(reciprocals(predictions, _k(self)), weights)


class Coverage(Metric):
    """Catalogue coverage."""

    name = "coverage"
    summary = "share of the catalogue that is among anyone's first k"
    reads = "lists"
    higher_is_better = True
    takes_k = True

    def module(self) -> evaluate.Metric:
        from lorarec_metrics.array_metric import ArrayMetric

        if not self.catalog_size:
            raise DataError("coverage needs the size of the catalogue.")
        return ArrayMetric(self, partial(coverage, catalog_size=self.catalog_size))


def _first_k(metric: Metric, function: Callable[..., float]) -> evaluate.Metric:
    from lorarec_metrics.array_metric import ArrayMetric

    return ArrayMetric(metric, partial(function, k=_k(metric)))


def _k(metric: Metric) -> int:
    if metric.k is None:
        raise DataError(f"{metric.name} looks at the first k: write {metric.name}@10.")
    return metric.k


@hookimpl
def lorarec_metrics() -> Iterable[type[Metric]]:
    return [HitRate, Ndcg, Mrr, Recall, Precision, MeanAveragePrecision, Coverage]

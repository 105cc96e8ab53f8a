"""Trivial baselines, judged on the same rows by the same metrics as the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lorarec.contracts import Part, Statistics
from lorarec.engine.evaluate import NamedMetric, Predictions, compute_metrics
from lorarec.engine.examples import Examples
from lorarec.model.ranking import held_out_rank, mask_seen, top_items, users_at_once

PRIOR = 5.0
"""Events' worth of the overall mean that an item's own mean is drawn towards."""


def baseline_metrics(
    examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics
) -> dict[str, dict[str, float]]:
    """Metrics of each baseline by name: popularity for rankings; the mean, and the item's mean, for scores.

    Labels that a head makes itself have no mean for each item.
    """
    rows = np.arange(len(examples))
    if not len(rows):
        return {}
    if examples.head.kind == "retrieval":
        return {"popularity": compute_metrics(_popularity(examples, metrics, statistics), examples, metrics)}
    label = examples.head.label()
    if label is not None and label in examples.head.needs():
        scores = {
            "mean": np.full(len(rows), statistics.label_mean),
            "item mean": _item_means(examples, label, statistics),
        }
    else:
        # Labels made by drawing items beside events: only their share is known, which the head's settings fix.
        scores = {"mean": np.full(len(rows), examples.labels().mean())}
    no_lists = np.empty((len(rows), 0), np.int64)
    return {
        name: compute_metrics(Predictions(rows, found, no_lists), examples, metrics) for name, found in scores.items()
    }


def _item_means(examples: Examples, label: str, statistics: Statistics) -> np.ndarray:
    interactions = examples.collation.interactions
    size = len(statistics.item_counts)
    rows = interactions.rows(Part.TRAIN)
    items, labels = interactions.item[rows], interactions.column(label)[rows]
    sums, counts = np.bincount(items, labels, minlength=size), np.bincount(items, minlength=size)
    means = (sums + PRIOR * statistics.label_mean) / (counts + PRIOR)
    found: np.ndarray = means[examples.items]
    return found


def _popularity(examples: Examples, metrics: Sequence[NamedMetric], statistics: Statistics) -> Predictions:
    counts = torch.from_numpy(statistics.item_counts.astype(np.float32))
    k = max((named.metric.k or 0 for named in metrics if named.metric.reads == "lists"), default=0)
    ranks, lists = [], []
    for rows in examples.blocks(min(1024, users_at_once(len(counts)))):
        seen = [examples.collation.histories.seen(int(event)) for event in examples.events[rows]]
        scores = mask_seen(counts[None].repeat(len(rows), 1), seen)
        ranks.append(held_out_rank(scores, torch.from_numpy(examples.items[rows])).numpy())
        lists.append(top_items(scores, k)[0].numpy() if k else np.empty((len(rows), 0), np.int64))
    return Predictions(np.arange(len(examples)), np.concatenate(ranks).astype(np.float64), np.concatenate(lists))

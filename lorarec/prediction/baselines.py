"""Baselines: trivial models that rank the catalog or predict labels, from training events alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.statistics import Statistics
from lorarec.prediction.ranking import held_out_rank, mask_seen, top_items, users_at_once

NEAREST_TO = 10
"""Latest events of a history to whose texts the nearest items are sought."""
AVERAGED = 500
"""Latest events of a history over which a user's mean is taken."""
PRIOR = 5.0
"""Events' worth of the overall mean that an item's or a user's own mean is drawn towards."""
EDGE = 0.01
"""Probabilities stay so far from 0 and 1."""
BLOCK = 1024
"""Questions whose histories are read at once."""

Score = Callable[[np.ndarray], Tensor]
"""Events [b] -> fresh scores [b, N]."""


class Asked(NamedTuple):
    """n questions about held-out events, and the data in which they are looked up."""

    events: np.ndarray
    """[n] int64 rows in the interactions."""
    items: np.ndarray
    """[n] int64 catalog rows that are asked about."""
    interactions: Interactions
    histories: Histories

    def blocks(self, size: int) -> Iterator[slice]:
        """All questions in order, `size` at a time."""
        for start in range(0, len(self.events), size):
            yield slice(start, min(start + size, len(self.events)))


class Ranked(NamedTuple):
    """What a baseline says of n questions."""

    ranks: np.ndarray
    """[n] int64 zero-based rank of each held-out item."""
    lists: np.ndarray
    """[n, k] int64 the best items."""


def rank_baselines(asked: Asked, item_counts: np.ndarray, k: int, frozen: Tensor | None) -> dict[str, Ranked]:
    """Ranks of the held-out items, and lists of k, under the same masks as the model's, by the baseline's name.

    `item_counts` [N]: training events of each item; `frozen` [N, D]: item vectors of the backbone before training.
    """
    ranked = {"popularity": _ranked(asked, item_counts, k, _for_everyone(item_counts.astype(np.float64)))}
    times = _last_taken(asked, len(item_counts))
    if times is not None:
        ranked["most recent"] = _ranked(asked, item_counts, k, _for_everyone(times))
    if frozen is not None:
        ranked["nearest text"] = _ranked(asked, item_counts, k, _nearest(asked, frozen))
    return ranked


def _ranked(asked: Asked, item_counts: np.ndarray, k: int, score: Score) -> Ranked:
    ranks, lists = [], []
    for rows in asked.blocks(min(BLOCK, users_at_once(len(item_counts)))):
        events = asked.events[rows]
        scores = mask_seen(score(events), [asked.histories.seen(int(event)) for event in events])
        ranks.append(held_out_rank(scores, torch.from_numpy(asked.items[rows])).numpy())
        lists.append(top_items(scores, k)[0].numpy() if k else np.empty((len(events), 0), np.int64))
    return Ranked(np.concatenate(ranks), np.concatenate(lists))


def _for_everyone(scores: np.ndarray) -> Score:
    """The same scores [N] for everyone. As ranks: dates in float32 would be a minute apart."""
    _, ranks = np.unique(scores, return_inverse=True)
    row = torch.from_numpy(ranks.astype(np.float32))
    return lambda events: row[None].repeat(len(events), 1)


def _last_taken(asked: Asked, size: int) -> np.ndarray | None:
    """[N] when a training event last had the item; below all of them where none had; None without times."""
    interactions = asked.interactions
    if interactions.time is None:
        return None
    rows = interactions.rows(Part.TRAIN)
    latest = np.full(size, interactions.time.min() - 1)
    np.maximum.at(latest, interactions.item[rows], interactions.time[rows])
    return latest


def _nearest(asked: Asked, frozen: Tensor) -> Score:
    """Cosine between an item's vector and the mean of those of the user's latest events; centred, since an encoder
    finds all texts of one shop similar."""
    vectors = frozen.detach().float().cpu()
    vectors = torch.nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)

    def scores(events: np.ndarray) -> Tensor:
        history, mask = asked.histories.latest(events, NEAREST_TO)
        latest = vectors[torch.from_numpy(history.items)] * torch.from_numpy(mask)[..., None]
        return latest.sum(dim=1) @ vectors.T

    return scores


def score_baselines(
    asked: Asked, label: str | None, labels: np.ndarray, statistics: Statistics
) -> dict[str, np.ndarray]:
    """[n] scores by the baseline's name, in the unit of the label.

    `label`: the column that holds the labels; None where they are made by drawing items beside events. `labels` [n]:
    those of the questions, of which only the share of ones is looked at, and only if they are made.

    The user's mean is that of the history the model itself may see. Biases: mean + item + user, the user's part being
    taken of what the items' parts leave over.
    """
    if label is None:
        # Labels made by drawing items beside events: only their share is known, which the head's settings fix.
        share = float(labels.mean())
        return {
            "mean": np.full(len(asked.events), share),
            "popularity": _chosen(statistics.item_counts, share)[asked.items],
        }
    mean = statistics.label_mean
    items = _item_biases(asked, label, statistics)
    scores = {"mean": np.full(len(asked.events), mean), "item mean": mean + items[asked.items]}
    nothing = np.zeros_like(items)
    if (users := _user_biases(asked, label, mean, nothing)) is not None:
        left_over = _user_biases(asked, label, mean, items)
        assert left_over is not None
        scores |= {"user mean": mean + users, "biases": mean + items[asked.items] + left_over}
    edge = EDGE if label == "click" else 0.0
    return {
        name: np.clip(values, statistics.label_min + edge, statistics.label_max - edge)
        for name, values in scores.items()
    }


def _chosen(counts: np.ndarray, share: float) -> np.ndarray:
    """[N] the probability that an item is the one chosen and not one drawn evenly, by how popular it is; `share` of
    all were chosen."""
    popular = (counts + 1) / (counts + 1).mean()
    odds = popular * share / (1 - share)
    return np.asarray(odds / (1 + odds))


def _item_biases(asked: Asked, label: str, statistics: Statistics) -> np.ndarray:
    """[N] how far above the mean the training labels of each item are."""
    interactions = asked.interactions
    size, rows = len(statistics.item_counts), interactions.rows(Part.TRAIN)
    items, above = interactions.item[rows], interactions.column(label)[rows] - statistics.label_mean
    return np.asarray(np.bincount(items, above, minlength=size) / (np.bincount(items, minlength=size) + PRIOR))


def _user_biases(asked: Asked, label: str, mean: float, items: np.ndarray) -> np.ndarray | None:
    """[n] how far above the mean and the items' biases [N] the labels of each example's history are; None where no
    history says what its user thought."""
    biases, any_known = np.zeros(len(asked.events)), False
    histories = asked.histories
    for rows in asked.blocks(BLOCK):
        history, mask = histories.latest(asked.events[rows], AVERAGED)
        values = _as_label(history.feedback, label, histories)
        known = mask & ~np.isnan(history.feedback)
        above = np.where(known, values - mean - items[history.items], 0.0)
        biases[rows] = above.sum(axis=1) / (known.sum(axis=1) + PRIOR)
        any_known = any_known or bool(known.any())
    return biases if any_known else None


def _as_label(feedback: np.ndarray, label: str, histories: Histories) -> np.ndarray:
    """Stars are clicks where they mean that the user liked the item."""
    return (feedback > histories.liked_above).astype(np.float64) if label == "click" else feedback.astype(np.float64)

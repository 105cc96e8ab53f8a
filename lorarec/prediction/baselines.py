"""Baselines: trivial models that rank the catalog or predict labels, from training events alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.config.recipe import Seen
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.ordering import blocks
from lorarec.data.statistics import Statistics
from lorarec.prediction.ranking import held_out_rank, held_out_ties, mask_seen, top_items, users_at_once

NEAREST_TO = 10
"""Latest events of a history, to whose texts the nearest items are recommended."""
AVERAGED = 500
"""Latest events of a history of which a user's mean is taken."""
PRIOR = 5.0
"""Weight of the overall mean, in events, toward which an item's or a user's mean is shrunk."""
EDGE = 0.01
"""Smallest distance of probabilities from 0 and 1."""
BLOCK = 1024
"""Questions whose histories are read at once."""

Score = Callable[[np.ndarray], Tensor]
"""Events [b] -> fresh scores [b, N]."""


class Asked(NamedTuple):
    """n questions about held-out events, and the data in which they are looked up."""

    events: np.ndarray
    """[n] int64 rows in the interactions."""
    items: np.ndarray
    """[n] int64 catalog rows: the item of each question."""
    interactions: Interactions
    histories: Histories
    seen: Seen = "mask"
    """Whether items that the user had before are left out of rankings."""

    def masked(self, rows: slice) -> list[np.ndarray]:
        """The catalog rows to leave out of the ranking of each question."""
        return self.histories.masked(self.events[rows], self.seen)

    def blocks(self, size: int) -> Iterator[slice]:
        """All questions in order, `size` at a time."""
        for start in range(0, len(self.events), size):
            yield slice(start, min(start + size, len(self.events)))


class Ranked(NamedTuple):
    """A baseline's predictions for n questions."""

    ranks: np.ndarray
    """[n] int64 zero-based rank of each held-out item, the worst one of its score."""
    ties: np.ndarray
    """[n] int64 other items of the same score: of everyone's favorites and latest items, many are tied."""
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
    ranks, ties, lists = [], [], []
    for rows in asked.blocks(min(BLOCK, users_at_once(len(item_counts)))):
        events = asked.events[rows]
        scores = mask_seen(score(events), asked.masked(rows))
        targets = torch.from_numpy(asked.items[rows])
        ranks.append(held_out_rank(scores, targets).numpy())
        ties.append(held_out_ties(scores, targets).numpy())
        lists.append(top_items(scores, k)[0].numpy() if k else np.empty((len(events), 0), np.int64))
    return Ranked(np.concatenate(ranks), np.concatenate(ties), np.concatenate(lists))


def _for_everyone(scores: np.ndarray) -> Score:
    """The same scores [N] for all users. As ranks: float32 would round dates to minutes."""
    _, ranks = np.unique(scores, return_inverse=True)
    row = torch.from_numpy(ranks.astype(np.float32))
    return lambda events: row[None].repeat(len(events), 1)


def _last_taken(asked: Asked, size: int) -> np.ndarray | None:
    """[N] the time of each item's last training event; below all of them where it has none; None without times."""
    interactions = asked.interactions
    if interactions.time is None:
        return None
    latest = np.full(size, interactions.time.min() - 1)
    for block in blocks(len(interactions)):
        train = interactions.part[block] == Part.TRAIN
        np.maximum.at(latest, interactions.item[block][train], interactions.time[block][train])
    return latest


def _nearest(asked: Asked, frozen: Tensor) -> Score:
    """Cosine between an item's vector and the mean of those of the user's latest events; centered, since an encoder
    gives all texts of one shop similar vectors."""
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

    `label`: the column that holds the labels; None where they are made by drawing negatives for each event. `labels`
    [n]: those of the questions, of which only the share of ones is used, and only if they are made.

    The user's mean is that of the history that the model itself may see. Biases: mean + item + user, where the user's
    bias is that of the residuals after the items' biases.
    """
    if label is None:
        # Labels made by drawing negatives: only their share is known, which the head's settings fix.
        share = float(labels.mean())
        return {
            "mean": np.full(len(asked.events), share),
            "popularity": _chosen(statistics.item_counts, share)[asked.items],
        }
    mean = statistics.label_mean
    items = _item_biases(asked, label, statistics)
    scores = {"mean": np.full(len(asked.events), mean), "item mean": mean + items[asked.items]}
    zeros = np.zeros_like(items)
    if (users := _user_biases(asked, label, mean, zeros)) is not None:
        residuals = _user_biases(asked, label, mean, items)
        assert residuals is not None
        scores |= {"user mean": mean + users, "biases": mean + items[asked.items] + residuals}
    edge = EDGE if label == "click" else 0.0
    return {
        name: np.clip(values, statistics.label_min + edge, statistics.label_max - edge)
        for name, values in scores.items()
    }


def _chosen(counts: np.ndarray, share: float) -> np.ndarray:
    """[N] the probability that an item is a positive and not a uniformly drawn negative, by its popularity; `share` of
    all are positives."""
    popular = (counts + 1) / (counts + 1).mean()
    odds = popular * share / (1 - share)
    return np.asarray(odds / (1 + odds))


def _item_biases(asked: Asked, label: str, statistics: Statistics) -> np.ndarray:
    """[N] how far the training labels of each item are above the mean, shrunk by PRIOR."""
    interactions = asked.interactions
    size, labels = len(statistics.item_counts), interactions.column(label)
    above, counts = np.zeros(size), np.zeros(size, np.int64)
    for block in blocks(len(interactions)):
        train = interactions.part[block] == Part.TRAIN
        items = interactions.item[block][train]
        np.add.at(above, items, labels[block][train] - statistics.label_mean)
        counts += np.bincount(items, minlength=size)
    return np.asarray(above / (counts + PRIOR))


def _user_biases(asked: Asked, label: str, mean: float, items: np.ndarray) -> np.ndarray | None:
    """[n] how far the feedback of each question's history is above the mean and the items' biases [N], shrunk by
    PRIOR; None where no history has feedback."""
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
    """Feedback in the unit of the label: stars above the threshold of liking count as clicks."""
    return (feedback > histories.liked_above).astype(np.float64) if label == "click" else feedback.astype(np.float64)

"""Baselines that predict labels: the mean, and what is known of the item and of the user beside it."""

from __future__ import annotations

import numpy as np

from lorarec.data.history import Histories
from lorarec.data.interactions import Part
from lorarec.data.statistics import Statistics
from lorarec.prediction.asked import Asked

PRIOR = 5.0
"""Events' worth of the overall mean that an item's or a user's own mean is drawn towards."""
LATEST = 500
"""Events of a history that a user's mean is taken of."""
BLOCK = 1024
EDGE = 0.01
"""Probabilities stay so far from 0 and 1."""


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
    found = {"mean": np.full(len(asked.events), mean), "item mean": mean + items[asked.items]}
    nothing = np.zeros_like(items)
    if (users := _user_biases(asked, label, mean, nothing)) is not None:
        beside = _user_biases(asked, label, mean, items)
        assert beside is not None
        found |= {"user mean": mean + users, "biases": mean + items[asked.items] + beside}
    edge = EDGE if label == "click" else 0.0
    return {
        name: np.clip(scores, statistics.label_min + edge, statistics.label_max - edge)
        for name, scores in found.items()
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
    found, told = np.zeros(len(asked.events)), False
    histories = asked.histories
    for rows in asked.blocks(BLOCK):
        history, mask = histories.latest(asked.events[rows], LATEST)
        values = _as_label(history.feedback, label, histories)
        known = mask & ~np.isnan(history.feedback)
        above = np.where(known, values - mean - items[history.items], 0.0)
        found[rows] = above.sum(axis=1) / (known.sum(axis=1) + PRIOR)
        told = told or bool(known.any())
    return found if told else None


def _as_label(feedback: np.ndarray, label: str, histories: Histories) -> np.ndarray:
    """Stars are clicks where they mean that the user liked the item."""
    return (feedback > histories.liked_above).astype(np.float64) if label == "click" else feedback.astype(np.float64)

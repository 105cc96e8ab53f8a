"""Baselines that rank the catalogue: by popularity, by when an item was last taken, by the nearest text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.data.interactions import Part
from lorarec.prediction.asked import Asked
from lorarec.prediction.ranking import held_out_rank, mask_seen, top_items, users_at_once

LATEST = 10
"""Events of a history whose texts the nearest items are sought to."""

Score = Callable[[np.ndarray], Tensor]
"""Events [b] -> fresh scores [b, N]."""


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
    found = {"popularity": _ranked(asked, item_counts, k, _alike(item_counts.astype(np.float64)))}
    times = _last_taken(asked, len(item_counts))
    if times is not None:
        found["most recent"] = _ranked(asked, item_counts, k, _alike(times))
    if frozen is not None:
        found["nearest text"] = _ranked(asked, item_counts, k, _nearest(asked, frozen))
    return found


def _ranked(asked: Asked, item_counts: np.ndarray, k: int, score: Score) -> Ranked:
    ranks, lists = [], []
    for rows in asked.blocks(min(1024, users_at_once(len(item_counts)))):
        events = asked.events[rows]
        scores = mask_seen(score(events), [asked.histories.seen(int(event)) for event in events])
        ranks.append(held_out_rank(scores, torch.from_numpy(asked.items[rows])).numpy())
        lists.append(top_items(scores, k)[0].numpy() if k else np.empty((len(events), 0), np.int64))
    return Ranked(np.concatenate(ranks), np.concatenate(lists))


def _alike(scores: np.ndarray) -> Score:
    """The same scores [N] for everyone. As places in their order: dates in float32 would be a minute apart."""
    _, places = np.unique(scores, return_inverse=True)
    row = torch.from_numpy(places.astype(np.float32))
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
    """Cosine between an item's vector and the mean of those of the user's latest events; centred, since the texts of
    one shop are all alike to an encoder."""
    vectors = frozen.detach().float().cpu()
    vectors = torch.nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)

    def scores(events: np.ndarray) -> Tensor:
        history, mask = asked.histories.latest(events, LATEST)
        latest = vectors[torch.from_numpy(history.items)] * torch.from_numpy(mask)[..., None]
        return latest.sum(dim=1) @ vectors.T

    return scores

"""Baselines that rank the catalogue: by popularity, by when an item was last taken, by the nearest text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Part, Statistics
from lorarec.engine.evaluate import Predictions
from lorarec.engine.examples import Examples
from lorarec.model.ranking import held_out_rank, mask_seen, top_items, users_at_once

LATEST = 10
"""Events of a history whose texts the nearest items are sought to."""

Score = Callable[[np.ndarray], Tensor]
"""Events [b] -> fresh scores [b, N]."""


def rank_baselines(examples: Examples, statistics: Statistics, k: int, frozen: Tensor | None) -> dict[str, Predictions]:
    """Ranks of the held-out items, and lists of k, under the same masks as the model's."""
    found = {"popularity": _ranked(examples, k, _alike(statistics.item_counts.astype(np.float64)))}
    times = _last_taken(examples, len(statistics.item_counts))
    if times is not None:
        found["most recent"] = _ranked(examples, k, _alike(times))
    if frozen is not None:
        found["nearest text"] = _ranked(examples, k, _nearest(examples, frozen))
    return found


def _ranked(examples: Examples, k: int, score: Score) -> Predictions:
    ranks, lists = [], []
    for rows in examples.blocks(min(1024, users_at_once(examples.collation.catalog_size))):
        events = examples.events[rows]
        scores = mask_seen(score(events), [examples.collation.histories.seen(int(event)) for event in events])
        ranks.append(held_out_rank(scores, torch.from_numpy(examples.items[rows])).numpy())
        lists.append(top_items(scores, k)[0].numpy() if k else np.empty((len(rows), 0), np.int64))
    return Predictions(np.arange(len(examples)), np.concatenate(ranks).astype(np.float64), np.concatenate(lists))


def _alike(scores: np.ndarray) -> Score:
    """The same scores [N] for everyone. As places in their order: dates in float32 would be a minute apart."""
    _, places = np.unique(scores, return_inverse=True)
    row = torch.from_numpy(places.astype(np.float32))
    return lambda events: row[None].repeat(len(events), 1)


def _last_taken(examples: Examples, size: int) -> np.ndarray | None:
    """[N] when a training event last had the item; below all of them where none had; None without times."""
    interactions = examples.collation.interactions
    if interactions.time is None:
        return None
    rows = interactions.rows(Part.TRAIN)
    latest = np.full(size, interactions.time.min() - 1)
    np.maximum.at(latest, interactions.item[rows], interactions.time[rows])
    return latest


def _nearest(examples: Examples, frozen: Tensor) -> Score:
    """Cosine between an item's vector and the mean of those of the user's latest events; centred, since the texts of
    one shop are all alike to an encoder."""
    vectors = frozen.detach().float().cpu()
    vectors = torch.nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)

    def scores(events: np.ndarray) -> Tensor:
        history, mask = examples.collation.histories.latest(events, LATEST)
        latest = vectors[torch.from_numpy(history.items)] * torch.from_numpy(mask)[..., None]
        return latest.sum(dim=1) @ vectors.T

    return scores

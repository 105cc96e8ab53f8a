"""Diversity: lists whose items are not all alike, and how lists are judged beside their accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

POOL, FEWEST = 10, 100
"""Lists of k are chosen from the best POOL * k items, at least FEWEST."""


def pool_size(k: int) -> int:
    """How many of the best items a list of k is chosen from."""
    return max(POOL * k, FEWEST)


def diversified(rows_BP: Tensor, scores_BP: Tensor, vectors_ND: Tensor, k: int, weight: float) -> Tensor:
    """[B, k'] places in each row's pool, in the order chosen: the next item is the one with the best
    (1 - weight) * relevance - weight * likeness to those chosen.

    Maximal marginal relevance; Carbonell and Goldstein, SIGIR 1998. `rows_BP` are catalogue rows, best first, -1 where
    there is none, `scores_BP` their scores. Relevance is the score on a scale from 0 to 1 over the pool, likeness the
    largest cosine of the centred `vectors_ND`. k' is k, or P if that is smaller.
    """
    there = rows_BP >= 0
    # Centred: to many encoders all texts of a shop are nearly alike.
    centred = vectors_ND.float() - vectors_ND.float().mean(dim=0)
    vectors = torch.nn.functional.normalize(centred[rows_BP.clamp(min=0)], dim=2)
    relevance = _levelled(scores_BP, there)
    likeness = torch.full_like(relevance, -1.0)  # of the first, nothing is yet alike
    left = torch.where(there, 0.0, -torch.inf)
    chosen = []
    for place in range(min(k, rows_BP.shape[1])):
        gain = (1 - weight) * relevance - (weight * likeness if place else 0.0)
        # A list whose pool is used up goes on with a place that holds no item, of which a pool too small has some.
        used_up = (left == -torch.inf).all(dim=1)
        best = torch.where(used_up, (~there).float().argmax(dim=1), (gain + left).argmax(dim=1))
        chosen.append(best)
        left.scatter_(1, best[:, None], -torch.inf)
        taken = vectors.gather(1, best[:, None, None].expand(-1, 1, vectors.shape[2]))
        likeness = torch.maximum(likeness, (vectors @ taken.transpose(1, 2))[..., 0])
    return torch.stack(chosen, dim=1)


def _levelled(scores_BP: Tensor, there: Tensor) -> Tensor:
    """Scores from 0, the least of the pool, to 1, the best; 1 where all are alike."""
    least = torch.where(there, scores_BP, torch.inf).amin(dim=1, keepdim=True)
    most = torch.where(there, scores_BP, -torch.inf).amax(dim=1, keepdim=True)
    span = most - least
    levelled = torch.where(span > 0, (scores_BP - least) / span, torch.ones_like(scores_BP))
    return torch.where(there, levelled, 0.0)


def list_measures(lists_BK: np.ndarray, vectors_ND: Tensor, counts_N: np.ndarray) -> dict[str, float]:
    """Measures by name, of lists of catalogue rows (-1 where there is no item).

    `coverage`: the share of the catalogue in any of them. `intra-list diversity`: 1 less the mean cosine of a list's
    pairs (Ziegler et al., WWW 2005), of vectors less the catalogue's mean: 0 all alike, about 1 as of a random list.
    `novelty`: the mean bits that tell an item by its share of the training events `counts_N` (Zhou et al., PNAS 2010).
    """
    shown = lists_BK[lists_BK >= 0]
    bits = -np.log2((counts_N + 1) / (counts_N + 1).sum())
    centred = vectors_ND.float() - vectors_ND.float().mean(dim=0)  # as lists are chosen
    unlike = [_unlike(row[row >= 0], centred) for row in lists_BK]
    known = [value for value in unlike if value is not None]
    return {
        "coverage": len(np.unique(shown)) / len(counts_N),
        "intra-list diversity": float(np.mean(known)) if known else 0.0,
        "novelty": float(bits[shown].mean()) if len(shown) else 0.0,
    }


def _unlike(rows: np.ndarray, vectors: Tensor) -> float | None:
    """1 less the mean cosine of the pairs of a list; None for a list of one."""
    if len(rows) < 2:
        return None
    unit = torch.nn.functional.normalize(vectors[torch.from_numpy(rows)].float(), dim=1)
    pairs = len(rows) * (len(rows) - 1)
    return float(1 - (unit.sum(dim=0).square().sum() - len(rows)) / pairs)

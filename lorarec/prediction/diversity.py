"""Diversity: recommendation lists of dissimilar items, and measures of lists beyond accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

POOL, POOL_MIN = 10, 100
"""Lists of k are chosen from the best POOL * k items, at least POOL_MIN."""


def pool_size(k: int) -> int:
    """How many of the best items a list of k is chosen from."""
    return max(POOL * k, POOL_MIN)


def diversified(rows_BP: Tensor, scores_BP: Tensor, vectors_ND: Tensor, k: int, weight: float) -> Tensor:
    """[B, k'] indices into each row's pool, in the order chosen: the next item is the one with the highest
    (1 - weight) * relevance - weight * similarity to those chosen.

    Maximal marginal relevance; Carbonell and Goldstein, SIGIR 1998. `rows_BP` are catalog rows, best first, -1 where
    there is none, `scores_BP` their scores. Relevance is the score scaled to 0 to 1 over the pool, similarity the
    largest cosine of the centered `vectors_ND`. k' is k, or P if that is smaller.
    """
    is_item = rows_BP >= 0
    # Centered: many encoders give all texts of a shop nearly the same vector.
    centered = vectors_ND.float() - vectors_ND.float().mean(dim=0)
    vectors = torch.nn.functional.normalize(centered[rows_BP.clamp(min=0)], dim=2)
    relevance = _scaled(scores_BP, is_item)
    similarity = torch.full_like(relevance, -1.0)
    left = torch.where(is_item, 0.0, -torch.inf)
    chosen = []
    for position in range(min(k, rows_BP.shape[1])):
        gain = (1 - weight) * relevance - (weight * similarity if position else 0.0)
        # A pool without items left has entries without an item (row -1), which fill the rest of the list.
        used_up = (left == -torch.inf).all(dim=1)
        best = torch.where(used_up, (~is_item).float().argmax(dim=1), (gain + left).argmax(dim=1))
        chosen.append(best)
        left.scatter_(1, best[:, None], -torch.inf)
        taken = vectors.gather(1, best[:, None, None].expand(-1, 1, vectors.shape[2]))
        similarity = torch.maximum(similarity, (vectors @ taken.transpose(1, 2))[..., 0])
    return torch.stack(chosen, dim=1)


def _scaled(scores_BP: Tensor, is_item: Tensor) -> Tensor:
    """Scores from 0, the least of the pool, to 1, the best; 1 where all are equal."""
    least = torch.where(is_item, scores_BP, torch.inf).amin(dim=1, keepdim=True)
    most = torch.where(is_item, scores_BP, -torch.inf).amax(dim=1, keepdim=True)
    span = most - least
    scaled = torch.where(span > 0, (scores_BP - least) / span, torch.ones_like(scores_BP))
    return torch.where(is_item, scaled, 0.0)


def list_measures(lists_BK: np.ndarray, vectors_ND: Tensor, counts_N: np.ndarray) -> dict[str, float]:
    """Measures by name, of lists of catalog rows (-1 where there is no item).

    `coverage`: the share of the catalog in any of them. `intra-list diversity`: 1 less the mean cosine of a list's
    pairs (Ziegler et al., WWW 2005), of vectors less the catalog's mean: 0 if all are the same, about 1 for a random
    list.
    `novelty`: the mean self-information of the items in bits, by their share of the training events `counts_N` (Zhou et
    al., PNAS 2010).
    """
    shown = lists_BK[lists_BK >= 0]
    bits = -np.log2((counts_N + 1) / (counts_N + 1).sum())
    centered = vectors_ND.float() - vectors_ND.float().mean(dim=0)  # as in `diversified`
    diversities = [_diversity(row[row >= 0], centered) for row in lists_BK]
    known = [value for value in diversities if value is not None]
    return {
        "coverage": len(np.unique(shown)) / len(counts_N),
        "intra-list diversity": float(np.mean(known)) if known else 0.0,
        "novelty": float(bits[shown].mean()) if len(shown) else 0.0,
    }


def _diversity(rows: np.ndarray, vectors: Tensor) -> float | None:
    """1 less the mean cosine of the pairs of a list; None for a list of one."""
    if len(rows) < 2:
        return None
    unit = torch.nn.functional.normalize(vectors[torch.from_numpy(rows)].float(), dim=1)
    pairs = len(rows) * (len(rows) - 1)
    return float(1 - (unit.sum(dim=0).square().sum() - len(rows)) / pairs)

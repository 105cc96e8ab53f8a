"""Ranking over the whole catalogue: mask what was seen, rank the held-out item, take the best k."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lorarec.errors import DataError


def mask_seen(scores_BN: Tensor, seen: list[np.ndarray]) -> Tensor:
    """Set the scores of items each user has already had to -inf, in place; `seen` holds catalogue rows a user."""
    rows = np.repeat(np.arange(len(seen)), [len(items) for items in seen])
    if len(rows):
        columns = np.concatenate(seen)
        scores_BN[torch.from_numpy(rows), torch.from_numpy(columns)] = -torch.inf
    return scores_BN


def held_out_rank(scores_BN: Tensor, target_B: Tensor) -> Tensor:
    """Zero-based rank of each user's held-out item, [B] int64; ties count against the model.

    A model that scores everything alike must look useless, not perfect. (McSherry and Najork, ECIR 2008, average
    over ties; we take the worst case.) Higher scores are better; seen items are already -inf, and a held-out item
    that was seen before ranks last. A score that is not a number ranks its item last as well.
    Raises DataError if a target is outside the catalogue.
    """
    size = scores_BN.shape[1]
    if len(target_B) and (int(target_B.min()) < 0 or int(target_B.max()) >= size):
        raise DataError(f"A held-out item is outside the catalogue of {size} items.")
    scores_BN = torch.where(torch.isnan(scores_BN), -torch.inf, scores_BN)
    own_B1 = scores_BN.gather(1, target_B[:, None])
    return (scores_BN >= own_B1).sum(dim=1) - 1


def top_items(scores_BN: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best k catalogue rows [B, k] and their scores [B, k]; equal scores are ordered by catalogue row.

    Places for which only masked items (-inf) are left hold row -1.
    """
    k = min(k, scores_BN.shape[1])
    scores_BN = torch.where(torch.isnan(scores_BN), -torch.inf, scores_BN)
    # topk leaves the order of equal scores to chance; a stable sort of a few more candidates than k settles it.
    threshold_B1 = scores_BN.topk(k, dim=1).values[:, -1:]
    if int((scores_BN >= threshold_B1).sum(dim=1).max()) == k:
        rows = scores_BN.topk(k, dim=1).indices.sort(dim=1).values
        order = scores_BN.gather(1, rows).sort(dim=1, descending=True, stable=True).indices
        rows = rows.gather(1, order)
    else:
        rows = scores_BN.sort(dim=1, descending=True, stable=True).indices[:, :k]
    scores_BK = scores_BN.gather(1, rows)
    return rows.masked_fill(scores_BK == -torch.inf, -1), scores_BK

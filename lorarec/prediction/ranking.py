"""Ranking over the whole catalog: mask seen items, rank the held-out item, take the top k."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.errors import DataError

SCORES = 2**25
"""Scores held at once, 128 MiB of them: a million items are ranked for 33 users at a time."""
STRIP = 2**19
"""Scores compared at once on an accelerator, so that temporary tensors stay small."""


def users_at_once(catalog_size: int) -> int:
    """How many users' scores of the whole catalog are held at once."""
    return max(1, SCORES // catalog_size)


def catalog_scores(users_BD: Tensor, items_ND: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the users, and their scores [b, N] of the whole catalog, a few users at a time.

    The tensor may be changed; the next one reuses its memory.
    """
    size = min(len(users_BD), users_at_once(len(items_ND)))
    # One buffer for all: allocating this much memory again costs as much as the product.
    buffer = torch.empty(size, len(items_ND), dtype=users_BD.dtype, device=users_BD.device)
    for start in range(0, len(users_BD), max(size, 1)):
        users = slice(start, min(start + size, len(users_BD)))
        yield users, torch.mm(users_BD[users], items_ND.T, out=buffer[: users.stop - start])


class Candidates:
    """The catalog rows [C], ascending, among which the best are chosen."""

    def __init__(self, rows: np.ndarray, catalog_size: int) -> None:
        self.rows = rows
        self.whole = len(rows) == catalog_size
        """Whether they are the whole catalog."""
        self._column = np.full(catalog_size, -1)
        self._column[rows] = np.arange(len(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def best(self, scores_BC: Tensor, k: int, seen: list[np.ndarray] | None) -> tuple[Tensor, Tensor]:
        """The best k catalog rows [B, k] and their scores [B, k]; row -1 where there are no more. The catalog rows
        in `seen`, one array per row of scores, are left out. May change the scores."""
        if seen is not None:
            columns = [self._column[items] for items in seen]
            mask_seen(scores_BC, [row[row >= 0] for row in columns])
        columns_BK, best = top_items(scores_BC, k)
        rows = torch.from_numpy(self.rows).to(columns_BK.device)
        return torch.where(columns_BK < 0, -1, rows[columns_BK]), best


def mask_seen(scores_BN: Tensor, seen: list[np.ndarray]) -> Tensor:
    """Set the scores of the items that each user has seen to -inf, in place; `seen` holds catalog rows per user."""
    rows = np.repeat(np.arange(len(seen)), [len(items) for items in seen])
    if len(rows):
        index = torch.from_numpy(np.stack([rows, np.concatenate(seen)])).to(scores_BN.device)
        scores_BN[index[0], index[1]] = -torch.inf
    return scores_BN


def held_out_rank(scores_BN: Tensor, target_B: Tensor) -> Tensor:
    """Zero-based rank of each user's held-out item, [B] int64; ties count against the model.

    A model that gives all items the same score must look useless, not perfect. (McSherry and Najork, ECIR 2008, average
    over ties; we take the worst case.) Higher scores are better; seen items are already -inf, and a held-out item
    that was seen before ranks last. An item whose score is NaN ranks last as well.
    Raises DataError if a target is outside the catalog.
    """
    size = scores_BN.shape[1]
    if len(target_B) and (int(target_B.min()) < 0 or int(target_B.max()) >= size):
        raise DataError(f"A held-out item is outside the catalog of {size} items.")
    own_B1 = scores_BN.gather(1, target_B[:, None])
    rank_B = _counts(scores_BN, own_B1, operator.ge) - 1
    # No score is below -inf, and NaN compares with none.
    return torch.where(own_B1[:, 0] > -torch.inf, rank_B, size - 1)


def held_out_ties(scores_BN: Tensor, target_B: Tensor) -> Tensor:
    """How many other items have the score of each user's held-out item, [B] int64; 0 where it is masked or NaN, and
    ranks last anyway."""
    own_B1 = scores_BN.gather(1, target_B[:, None])
    return torch.where(own_B1[:, 0] > -torch.inf, _counts(scores_BN, own_B1, operator.eq) - 1, 0)


def _counts(scores_BN: Tensor, own_B1: Tensor, compare: Callable[[Any, Any], Any]) -> Tensor:
    """[B] int64 how many scores of each user compare with their own one."""
    if scores_BN.device.type != "cpu":
        return _counts_in_strips(scores_BN, own_B1, compare)
    pairs = zip(scores_BN.numpy(), own_B1.numpy(), strict=True)  # numpy counts booleans five times as fast as torch
    return torch.tensor([np.count_nonzero(compare(scores, own)) for scores, own in pairs], dtype=torch.int64)


def _counts_in_strips(scores_BN: Tensor, own_B1: Tensor, compare: Callable[[Any, Any], Any]) -> Tensor:
    """The same on an accelerator."""
    counts_B = torch.zeros(len(scores_BN), dtype=torch.int64, device=scores_BN.device)
    width = max(1, STRIP // max(len(scores_BN), 1))
    for start in range(0, scores_BN.shape[1], width):
        counts_B += compare(scores_BN[:, start : start + width], own_B1).sum(dim=1)
    return counts_B


def top_items(scores_BN: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best k catalog rows [B, k] and their scores [B, k]; equal scores are ordered by catalog row.

    Row -1 where only masked items (-inf) are left.
    """
    rows = _best(scores_BN, min(k, scores_BN.shape[1]))
    scores_BK = scores_BN.gather(1, rows).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    return rows.masked_fill(scores_BK == -torch.inf, -1), scores_BK


def _best(scores_BN: Tensor, k: int) -> Tensor:
    """[B, k] indices of the highest scores, best first; of equal ones, the lowest index first.

    The catalog is cut into blocks. Each of the best k lies in one of the k blocks whose maxima come first in that same
    order: k other blocks before its own would each hold an item that comes before it.
    """
    size = scores_BN.shape[1]
    width = math.isqrt(size // k) if k else 0
    if width < 4:
        return _numbers(scores_BN).sort(dim=1, descending=True, stable=True).indices[:, :k]
    whole = size // width * width
    maxima = scores_BN[:, :whole].view(len(scores_BN), size // width, width).amax(dim=2)
    if bool(maxima.isnan().any()):
        return _best(_numbers(scores_BN), k)
    # In the order of the catalog, so that equal scores keep it.
    blocks = _best(maxima, k).sort(dim=1).values
    inside = torch.arange(width, device=scores_BN.device)
    rest = torch.arange(whole, size, device=scores_BN.device).expand(len(scores_BN), -1)
    columns = torch.cat([(blocks[:, :, None] * width + inside).flatten(1), rest], dim=1)
    return columns.gather(1, _best(scores_BN.gather(1, columns), k))


def _numbers(scores_BN: Tensor) -> Tensor:
    """NaN counts as the lowest score."""
    return scores_BN.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)

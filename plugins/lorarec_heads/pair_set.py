"""PairSet: pairs of a user and an item as a sparse matrix, and the three products that learning from them takes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

# A remark of torch's on each first use, which says nothing to who trains a head.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class PairSet:
    """n pairs of U users and N items, kept in the order user, item. Everything is linear in n."""

    user_starts: Tensor
    """[U + 1] int64 where each user's pairs begin."""
    item: Tensor
    """[n] int64."""
    item_starts: Tensor
    """[N + 1] int64 where each item's pairs begin, once they are in the order item, user."""
    user_by_item: Tensor
    """[n] int64 users, in the order item, user."""
    by_item: Tensor
    """[n] int64 which pairs these are."""

    @classmethod
    def of(cls, user: Tensor, item: Tensor, users: int, items: int) -> tuple[Self, Tensor]:
        """The pairs, and [n] which of those given each is."""
        order = torch.argsort(user * items + item, stable=True)
        user, item = user[order], item[order]
        by_item = torch.argsort(item, stable=True)
        starts = (_starts(user, users), _starts(item, items))
        return cls(starts[0], item, starts[1], user[by_item], by_item), order

    def __len__(self) -> int:
        return len(self.item)

    def user_sums(self, values: Tensor, features: Tensor) -> Tensor:
        """[U, d] for each user the sum over their pairs of value [n] times the item's features [N, d]."""
        matrix = _csr(self.user_starts, self.item, values, len(features))
        sums: Tensor = torch.sparse.mm(matrix, features)
        return sums

    def item_sums(self, values: Tensor, features: Tensor) -> Tensor:
        """[N, e] for each item the sum over its pairs of value [n] times the user's features [U, e]."""
        matrix = _csr(self.item_starts, self.user_by_item, values[self.by_item], len(features))
        sums: Tensor = torch.sparse.mm(matrix, features)
        return sums

    def dots(self, users: Tensor, items: Tensor) -> Tensor:
        """[n] the dot product of each pair's rows in users [U, d] and items [N, d]. Without gradient."""
        if not len(self):
            return users.new_zeros(0)
        empty = _csr(self.user_starts, self.item, users.new_zeros(len(self)), len(items))
        found: Tensor = torch.sparse.sampled_addmm(empty, users, items.T.contiguous(), beta=0.0).values()
        return found


def _starts(ascending: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ascending, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _csr(starts: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    return torch.sparse_csr_tensor(starts, columns, values, (len(starts) - 1, width), check_invariants=False)

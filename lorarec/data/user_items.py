"""UserItems: everything a user has had, in every part of the split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lorarec.data.columns import HISTORY

if TYPE_CHECKING:
    from lorarec.data.interactions import Interactions


class UserItems:
    """The items of each user's events of all parts, for evaluations: training must not look here."""

    def __init__(self, interactions: Interactions, users: np.ndarray) -> None:
        """`users`: the rows of the users who will be looked up; no others are kept.

        Where the data have kinds of events, positive and negative ones count, as in `Histories.seen`. Where rows have
        their own histories, the items of these count as well.
        """
        wanted = np.zeros(len(interactions.user_ids), bool)
        wanted[users] = True
        pairs = [_events(interactions, wanted)]
        if interactions.has(HISTORY):
            pairs.append(_in_own_histories(interactions, wanted))
        user, item = np.concatenate(pairs, axis=1)
        order = np.lexsort((item, user))
        user, item = user[order], item[order]
        first = np.ones(len(user), bool)
        first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        self._items = item[first]
        self._starts = np.searchsorted(user[first], np.arange(len(wanted) + 1))

    def of(self, user: int) -> np.ndarray:
        """[L] int64 the distinct catalog rows that the user has had, ascending."""
        return np.asarray(self._items[self._starts[user] : self._starts[user + 1]])


def _events(interactions: Interactions, wanted: np.ndarray) -> np.ndarray:
    """[2, n] users and items of these users' events."""
    rows = wanted[interactions.user]
    if interactions.use is not None:
        rows &= interactions.use.had
    return np.stack([interactions.user[rows], interactions.item[rows]])


def _in_own_histories(interactions: Interactions, wanted: np.ndarray) -> np.ndarray:
    """[2, n] users and items of the histories that these users' rows bring."""
    rows = np.flatnonzero(wanted[interactions.user])
    lists = interactions.table.data.column(HISTORY).take(rows).combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.stack([np.repeat(interactions.user[rows], lengths), lists.flatten().to_numpy(zero_copy_only=False)])

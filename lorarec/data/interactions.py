"""Interactions: a checked table of events with encoded ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lorarec.data.columns import ITEM, TIME, USER
from lorarec.data.file_rows import Rows
from lorarec.data.user_items import UserItems

if TYPE_CHECKING:
    from datasets import Dataset

    from lorarec.data.events import EventUse


class Part(IntEnum):
    """Which part of the split a row belongs to."""

    UNUSED = -1
    """In no part, because its history is shorter than `data.history.at_least`, its user is not evaluated, or its kind
    is not a target; still an event that may be in histories."""
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class Interactions:
    """E events; users are encoded as 0..U-1, items as rows of the catalog; bad rows are refused.

    The table stays on disk (Arrow); single columns are read into memory when used.
    """

    table: Dataset
    """Columns user, item (int64) and, where the data has them, time, rating, click, weight (float64), history (list
    of catalog rows) and history_feedback (list of float)."""
    user_ids: pa.Array
    """[U] the users' original ids, as strings."""
    part: np.ndarray
    """[E] int8 of Part."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Number of rows in no part, by reason."""
    use: EventUse | None = None
    """The use of each row, where the data have kinds of events. Rows that are not targets are `Part.UNUSED`."""
    rows_in_files: Rows | None = None
    """[E] the rows in the files, where rows were left out or there are several files; messages name them."""

    def __len__(self) -> int:
        return len(self.table)

    def has(self, name: str) -> bool:
        """Whether the table has this column."""
        return name in self.table.column_names

    def column(self, name: str) -> np.ndarray:
        """[E] one column of numbers as an array."""
        values: np.ndarray = self.table.data.column(name).to_numpy()
        return values

    def lists(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of lists: [sum of lengths] the elements, and [E + 1] int64 where lists start and end."""
        column = self.table.data.column(name)
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # the latter always copies
        offsets = np.asarray(whole.offsets.to_numpy(), np.int64)
        values = whole.values.to_numpy(zero_copy_only=False)
        return values[offsets[0] : offsets[-1]], offsets - offsets[0]

    @cached_property
    def user(self) -> np.ndarray:
        """[E] int64 user rows."""
        return self.column(USER)

    @cached_property
    def item(self) -> np.ndarray:
        """[E] int64 catalog rows."""
        return self.column(ITEM)

    @cached_property
    def time(self) -> np.ndarray | None:
        """[E] float64 seconds, or None."""
        return self.column(TIME) if self.has(TIME) else None

    @cached_property
    def held_out_users(self) -> UserItems:
        """The items that each user with held-out rows has had, in every part."""
        return UserItems(self, self.user[self.part >= Part.VALIDATION])

    def rows(self, part: Part) -> np.ndarray:
        """[n] int64 the events of one part, in table order."""
        return np.flatnonzero(self.part == part)

"""Columns of lists: the histories that rows bring with them, flat and with offsets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.ids import Encoded, encode_ids
from lorarec.data.numeric import as_float
from lorarec.errors import DataError


class Lists(NamedTuple):
    """n lists, end to end."""

    values: pa.ChunkedArray
    """[sum of lengths] the elements."""
    offsets: np.ndarray
    """[n + 1] int64: list i is values[offsets[i]:offsets[i + 1]]."""

    @property
    def rows(self) -> np.ndarray:
        """[sum of lengths] the row each element belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def read_lists(column: pa.ChunkedArray, place: str) -> Lists:
    """A column of lists, flat. `place` names file and column. Raises DataError for other types and missing
    lists."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"{place}: values of type {kind}; each row needs a list, oldest first. Convert the column.")
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        raise DataError(f"{place}, row {missing[0] + 1}: no list. Write an empty list for a user without history.")
    lengths = pc.list_value_length(column).to_numpy()
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type)
    return Lists(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))


def item_lists(lists: Lists, place: str) -> Encoded:
    """The elements as numbered item ids."""
    values = lists.values.cast(pa.string()) if pa.types.is_null(lists.values.type) else lists.values
    return encode_ids(values, place, lists.rows)


def feedback_lists(column: pa.ChunkedArray, history: Lists, place: str) -> pa.LargeListArray:
    """A column of lists of numbers, one beside each event of the histories; NaN where an element is missing.

    Raises DataError naming the row where the lengths differ, or where a number is infinite.
    """
    lists = read_lists(column, place)
    wrong = np.flatnonzero(np.diff(lists.offsets) != np.diff(history.offsets))
    if len(wrong):
        row = wrong[0]
        have, need = np.diff(lists.offsets)[row], np.diff(history.offsets)[row]
        raise DataError(f"{place}, row {row + 1}: {have} numbers beside a history of {need} events. Give one an event.")
    values = as_float(lists.values, place, lists.rows)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(f"{place}, row {lists.rows[infinite[0]] + 1}: an infinite number. Mend or remove the row.")
    return pa.LargeListArray.from_arrays(lists.offsets, pa.array(values))

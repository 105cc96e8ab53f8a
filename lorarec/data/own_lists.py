"""The histories that rows come with, and their feedback: lists, or text that is read as lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, Lists, feedback_lists, item_lists, read_lists
from lorarec.data.delimited import typed
from lorarec.data.file_rows import Rows
from lorarec.data.ids import Encoded
from lorarec.data.numbers import is_text, plain_column
from lorarec.data.text_lists import separator_note, separator_of, text_lists


class OwnLists(NamedTuple):
    """The histories of n rows."""

    lists: Lists
    items: Encoded
    feedback: pa.LargeListArray | None
    """[n] a number for each item, NaN where it is missing; None where there is no feedback."""
    notes: tuple[str, ...]
    """What was detected, for the data report."""

    def columns(self, codes: np.ndarray) -> dict[str, pa.Array]:
        """The columns of the numbered table; `codes` are the catalog rows of all items."""
        history = {HISTORY: pa.LargeListArray.from_arrays(self.lists.offsets, pa.array(codes))}
        return history if self.feedback is None else history | {HISTORY_FEEDBACK: self.feedback}


def own_lists(
    columns: Mapping[str, pa.ChunkedArray],
    item_ids: Sequence[pa.Array],
    item_type: pa.DataType,
    rows: Rows | None,
    decimal: str | None = None,
) -> OwnLists:
    """Read the column of histories, and that of feedback if it is the second one, by their names for messages.

    `item_ids` are those of the data, of which no part separates the items of a text; `item_type` is the type of the
    column of items, `rows` is as in `row_of`, `decimal` as in `read_numbers`.
    """
    (where, column), *feedback = columns.items()
    column, separator, notes = texts_of_numbers(column), None, tuple[str, ...]()
    if is_text(plain_column(column).type):
        separator = separator_of(column, item_ids)
        notes = separator_note(where, separator)
        column = text_lists(column, where, separator, rows)
    lists = read_lists(column, where, rows)
    if (pa.types.is_floating(item_type) or pa.types.is_integer(item_type)) and is_text(plain_column(lists.values).type):
        lists = lists._replace(values=_like_numbers(plain_column(lists.values)))
    numbers = None
    for of, other in feedback:
        other = texts_of_numbers(other)
        if is_text(plain_column(other).type):
            other = text_lists(other, of, separator or separator_of(other, ()), rows)
        numbers, detected = feedback_lists(other, lists.offsets, of, rows, decimal)
        notes += detected
    return OwnLists(lists, item_lists(lists, where, rows), numbers, notes)


def texts_of_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of numbers, which a file has where no history is longer than 1, as texts."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column
    return pc.fill_null(column.cast(pa.large_string()), "")


def _like_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids of histories as numbers, where the column of items has numbers: 7.0 is the id 7 in both."""
    return typed(values) if not values.null_count and pc.any(pc.match_substring(values, ".")).as_py() else values

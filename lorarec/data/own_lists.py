"""The histories that rows come with, and their feedback: lists, or text that is read as lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, Lists, feedback_lists, item_lists, read_lists
from lorarec.data.delimited import typed
from lorarec.data.file_rows import Rows
from lorarec.data.ids import Encoded
from lorarec.data.numbers import is_text, plain_column
from lorarec.data.parquet_table import encoded_chunks
from lorarec.data.text_lists import separator_note, separator_of, text_blocks, text_lists


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
        column = _encoded_lists(column, where, separator, rows)
    lists = read_lists(column, where, rows)
    if (pa.types.is_floating(item_type) or pa.types.is_integer(item_type)) and is_text(plain_column(lists.values).type):
        lists = lists._replace(values=_like_numbers(lists.values))
    numbers = None
    for of, other in feedback:
        other = texts_of_numbers(other)
        if is_text(plain_column(other).type):
            other = text_lists(other, of, separator or separator_of(other, ()), rows)
        numbers, detected = feedback_lists(other, lists.offsets, of, rows, decimal)
        notes += detected
    return OwnLists(lists, item_lists(lists, where, rows), numbers, notes)


def _encoded_lists(column: pa.ChunkedArray, where: str, separator: str | None, rows: Rows | None) -> pa.ChunkedArray:
    """As `text_lists`, but the elements come dictionary-encoded, so that never all texts are in memory."""

    def read() -> Iterator[pa.Array]:
        for start, block in text_blocks(column):
            of_block = (rows or Rows())[np.arange(start, start + len(block))]
            yield from text_lists(block, where, separator, of_block).chunks

    return pa.chunked_array(list(encoded_chunks(read())))


def texts_of_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of numbers, which a file has where no history is longer than 1, as texts."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column
    return pc.fill_null(column.cast(pa.large_string()), "")


def _like_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids of histories as numbers, where the column of items has numbers: 7.0 is the id 7 in both."""
    chunks = (chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk for chunk in values.chunks)
    pointed = not values.null_count and any(pc.any(pc.match_substring(words, ".")).as_py() for words in chunks)
    return typed(plain_column(values)) if pointed else values

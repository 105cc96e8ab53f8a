"""The histories that rows come with, and their feedback: lists, or text that is read as lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, Lists, feedback_lists, item_lists, read_lists
from lorarec.data.delimited import typed
from lorarec.data.file_rows import Rows, row_of
from lorarec.data.ids import Encoded, plain_ids
from lorarec.data.numbers import is_number, is_text, is_word, plain_column
from lorarec.data.parquet_table import encoded_chunks
from lorarec.data.text_lists import feedback_separator, separator_note, separator_of, text_blocks, text_lists
from lorarec.errors import DataError

POINT_ZERO = r"^(0|-?[1-9][0-9]{0,14})\.0+$"
"""A whole number as a column of floats writes it, below where its digits may be lost."""


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
    words: Sequence[Sequence[str]] = ((), ()),
) -> OwnLists:
    """Read the column of histories, and that of feedback if it is the second one, by their names for messages.

    `item_ids` are those of the data, of which no part separates the items of a text; `item_type` is the type of the
    column of items, `rows` is as in `row_of`, `decimal` as in `read_numbers`. `words` stand for a missing value in the
    histories, which are refused, and in the feedback.
    """
    (where, column), *feedback = columns.items()
    column, separator, notes = texts_of_ids(column, where, rows), None, tuple[str, ...]()
    if is_text(plain_column(column).type):
        separator = separator_of(column, item_ids)
        notes = separator_note(where, separator)
        column = _encoded_lists(column, where, separator, rows)
    lists = read_lists(column, where, rows)
    if (pa.types.is_floating(item_type) or pa.types.is_integer(item_type)) and is_text(plain_column(lists.values).type):
        lists = lists._replace(values=_like_numbers(lists.values))
    _refuse_words(lists, where, rows, words[0])
    numbers = None
    for of, other in feedback:
        other = lists_of_numbers(other)
        if is_text(other.type):
            other = text_lists(other, of, feedback_separator(other, separator, decimal), rows, decimal)
        numbers, detected = feedback_lists(other, lists.offsets, of, rows, decimal, words[1])
        notes += detected
    return OwnLists(lists, item_lists(lists, where, rows), numbers, notes)


def _encoded_lists(column: pa.ChunkedArray, where: str, separator: str | None, rows: Rows | None) -> pa.ChunkedArray:
    """As `text_lists`, but the elements come dictionary-encoded, so that never all texts are in memory."""

    def read() -> Iterator[pa.Array]:
        for start, block in text_blocks(column):
            of_block = (rows or Rows())[np.arange(start, start + len(block))]
            yield from text_lists(block, where, separator, of_block).chunks

    return pa.chunked_array(list(encoded_chunks(read())))


def _refuse_words(lists: Lists, where: str, rows: Rows | None, words: Sequence[str]) -> None:
    """Raise DataError naming the row of a history with a word for a missing value."""
    if not words or not any(pc.any(is_word(each, words)).as_py() for each in _distinct(lists.values)):
        return
    index = int(pc.index(is_word(lists.values, words), pa.scalar(True)).as_py())
    if index >= 0:
        row = row_of(int(lists.rows[index]), rows)
        raise DataError(
            f"{where}, row {row}: {lists.values[index].as_py()!r} stands for a missing value (data.missing_values), "
            "but a history has ids only. Remove it from the list."
        )


def texts_of_ids(column: pa.ChunkedArray, where: str, rows: Rows | None = None) -> pa.ChunkedArray:
    """A column of numbers, which a file has where no history is longer than 1, as texts of ids; floats are checked and
    written as whole numbers."""
    if pa.types.is_floating(column.type):
        column = plain_ids(pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column), where, rows)
    return pc.fill_null(column.cast(pa.large_string()), "") if pa.types.is_integer(column.type) else column


def lists_of_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of numbers, which a file has where no history is longer than 1, as lists of one, or of none where the
    number is missing; others without a dictionary."""
    column = plain_column(column)
    if not is_number(column.type):
        return column
    known = pc.invert(column.is_null(nan_is_null=True))
    offsets = np.concatenate(([0], np.cumsum(known.to_numpy())))
    numbers = pa.concat_arrays([pa.array([], column.type), *column.filter(known).chunks])
    return pa.chunked_array([pa.LargeListArray.from_arrays(offsets, numbers)])


def _like_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids of histories as numbers, where the column of items has numbers: 7.0 is the id 7 in both, whatever other ids
    there are. What is left with a point is refused where all are numbers."""
    if values.null_count or not _has_point(values):
        return values
    values = pa.chunked_array([_whole(chunk) for chunk in values.chunks])
    return typed(plain_column(values)) if _has_point(values) else values


def _has_point(values: pa.ChunkedArray) -> bool:
    return any(pc.any(pc.match_substring(each, ".")).as_py() for each in _distinct(values))


def _distinct(values: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """The values of each chunk, once each where they come dictionary-encoded."""
    chunks = (chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk for chunk in values.chunks)
    return (pa.chunked_array([chunk]) for chunk in chunks)


def _whole(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        return pa.DictionaryArray.from_arrays(values.indices, _whole(values.dictionary))
    return pc.replace_substring_regex(values, POINT_ZERO, r"\1")

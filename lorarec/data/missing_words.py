"""Words that stand for a missing value (`data.missing_values`): those of each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.config.recipe import DataSection
from lorarec.data.columns import CLICK, HISTORY_FEEDBACK, RATING
from lorarec.data.file_rows import Rows
from lorarec.data.number_columns import read_column
from lorarec.data.numbers import click_words, is_missing, is_word
from lorarec.data.raw_tables import RawTables
from lorarec.errors import DataError


def missing_words(section: DataSection, *names: str) -> tuple[str, ...]:
    """The words that stand for a missing value in these columns of lorarec's."""
    words = section.missing_values or ()
    if isinstance(words, tuple):
        return words
    return tuple(word for name in names for word in words.get(name, ()))  # type: ignore[call-overload]


def refuse_unread_words(
    section: DataSection, columns: Mapping[str, str], unread: Sequence[str], raw: RawTables
) -> None:
    """Raise DataError for words for a column that is not in `columns`, nor read as feedback of histories; `unread` are
    those that kinds of events replace."""
    named = section.missing_values if isinstance(section.missing_values, dict) else {}
    for name in named:
        if name in columns or (name in (RATING, CLICK) and HISTORY_FEEDBACK in columns):
            continue
        column = raw.columns.get(name, name)
        if column in unread:
            raise DataError(
                f"data.missing_values names '{name}', but column '{column}' of {raw.origin} is not read: data.events "
                "says what was liked and clicked. Leave it out."
            )
        raise DataError(
            f"data.missing_values names '{name}', but no column of {raw.origin} is read as it. Leave it out, or say "
            f"which column it is: data.columns.{name}=NAME."
        )


def with_words(
    column: pa.ChunkedArray, used: np.ndarray, name: str, where: str, raw: RawTables, section: DataSection
) -> pa.ChunkedArray:
    """A column of numbers as text, in which those that are words for a missing value are written as these: 0.0 as 0."""
    words = missing_words(section, name)
    known = used & ~is_missing(column, words).to_numpy()
    given, in_files = column.filter(pa.array(known)), (raw.rows or Rows())[np.flatnonzero(known)]
    if not len(given) or click_words(given[0].as_py()) is not None:
        return column
    numbers = pa.chunked_array([read_column(name, given, where, in_files, section.dates, raw.decimal).values])
    for word in words:
        same = known.copy()
        same[known] = is_word(numbers, (word,)).to_numpy()
        column = pc.if_else(pa.array(same), pa.scalar(word, column.type), column)
    return column

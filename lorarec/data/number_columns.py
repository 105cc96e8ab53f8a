"""Columns of times, ratings, clicks and weights, each by its reader; refusals name the settings for missing values."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import CLICK, RATING, TIME, WEIGHT
from lorarec.data.file_rows import Rows
from lorarec.data.numbers import OddValue, Read, plain_column, read_clicks, read_numbers, read_weights
from lorarec.data.times import read_times
from lorarec.errors import DataError

LONGEST_WORD = 20
"""Characters of a word that may stand for a missing value."""


def read_column(
    name: str,
    column: pa.ChunkedArray,
    where: str,
    rows: Rows | None = None,
    dates: str | None = None,
    decimal: str | None = None,
) -> Read:
    """A column of lorarec's TIME, RATING, CLICK or WEIGHT, as `read_numbers` and its like read it. A value that may
    stand for a missing one is refused with the settings for it."""
    try:
        if name == TIME:
            return read_times(column, where, rows, dates, decimal)
        reader = {RATING: read_numbers, CLICK: read_clicks, WEIGHT: read_weights}[name]
        return reader(column, where, rows, decimal)
    except OddValue as error:
        if where.endswith(f", column '{error.value}'"):
            raise DataError(f"{error} It is the column's name: joined files may have several lines of names.") from None
        raise DataError(f"{error}{_missing_hint(name, error.value, column)}") from None


def _missing_hint(name: str, value: object, column: pa.ChunkedArray) -> str:
    """What to do with a short word, or with zeros such as 0000-00-00; nothing for other values."""
    is_word = isinstance(value, str) and len(value) <= LONGEST_WORD and set("123456789").isdisjoint(value)
    if not is_word or (name == CLICK and value == "0"):
        return ""
    count = int(pc.sum(pc.equal(pc.utf8_trim_whitespace(plain_column(column)), str(value).strip())).as_py())
    rows = f" (in {count:,} rows)" if count > 1 else ""
    return (
        f" If {value!r}{rows} stands for a missing value, leave such rows out: `missing_values: [{value!r}]` and "
        "`missing: drop` in the section data."
    )

"""Columns: the names that lorarec knows, and readers of lists of ids and numbers.

Values that cannot be used are refused with file, column and row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.config.strict import did_you_mean
from lorarec.data.file_rows import Rows, row_of
from lorarec.data.ids import Encoded, encode_ids
from lorarec.data.numbers import click_words, is_missing, is_text, is_word, plain_column, read_clicks
from lorarec.errors import DataError, counted

USER = "user"
ITEM = "item"
TIME = "time"
RATING = "rating"
CLICK = "click"
EVENT = "event"
HISTORY = "history"
HISTORY_FEEDBACK = "history_feedback"
WEIGHT = "weight"
SPLIT = "split"

NULLS = ("null", "None", "nan", "NaN")
"""How lists that are written as text write a missing element."""

KNOWN = (USER, ITEM, TIME, RATING, CLICK, EVENT, WEIGHT, HISTORY, HISTORY_FEEDBACK, SPLIT)


def resolve_columns(available: Sequence[str], columns: Mapping[str, str], origin: str) -> dict[str, str]:
    """lorarec's name -> the source's, for every known column the source has.

    A name that `columns` does not map is its own source name, except WEIGHT: a column of that name may hold the weight
    of a parcel. Raises DataError for a name lorarec does not know, for a mapped column that is missing, and where there
    is no item, or neither user nor history.
    """
    for name, source in columns.items():
        if name not in KNOWN:
            raise DataError(
                f"data.columns: lorarec knows no column '{name}'.{did_you_mean(name, KNOWN)} "
                f"It knows {', '.join(KNOWN)}."
            )
        if source not in available:
            raise missing_column(source, available, origin, f", which data.columns takes for '{name}'")
    candidates = {name: columns.get(name, name) for name in KNOWN if name in columns or name != WEIGHT}
    resolved = {name: source for name, source in candidates.items() if source in available}
    if ITEM not in resolved:
        raise missing_column(ITEM, available, origin, "; say which one it is: data.columns.item=NAME")
    if USER not in resolved and HISTORY not in resolved:
        raise missing_column(
            USER, available, origin,
            "; say which one it is: data.columns.user=NAME (rows with their own history, "
            "data.columns.history=NAME, need none)",
        )  # fmt: skip
    if HISTORY_FEEDBACK in resolved and HISTORY not in resolved:
        raise DataError(
            f"{origin}: column '{resolved[HISTORY_FEEDBACK]}' holds the feedback of a history, but no column "
            f"holds the history itself; name it: data.columns.history=NAME. Columns: {', '.join(available)}."
        )
    return resolved


def missing_column(name: str, available: Sequence[str], origin: str, detail: str = "") -> DataError:
    """The error for a column that a file lacks: file, name, most similar name, and the available names."""
    numbers = any(other.replace(".", "", 1).isdigit() for other in available)
    hint = (
        " Line 1 has numbers for names: a file without a header line needs `header: [user, item, ...]`."
        if numbers
        else ""
    )
    listed = f"Columns: {', '.join(available)}."
    return DataError(f"{origin}: no column '{name}'{detail}.{did_you_mean(name, available)}{hint} {listed}")


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The narrowest type that holds the values of both, also within lists; text where no other does."""
    try:
        schemas = [pa.schema([("", kind)]) for kind in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        lists = is_list(one) and is_list(other)
        return pa.list_(common_type(one.value_type, other.value_type)) if lists else pa.string()


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is that of lists of any length."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


class Lists(NamedTuple):
    """n lists, concatenated."""

    values: pa.ChunkedArray
    """[sum of lengths] the elements."""
    offsets: np.ndarray
    """[n + 1] int64: list i is values[offsets[i]:offsets[i + 1]]."""

    @property
    def rows(self) -> np.ndarray:
        """[sum of lengths] the row each element belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def read_lists(column: pa.ChunkedArray, where: str, rows: Rows | None = None) -> Lists:
    """A column of lists, flat. `where` names file and column, `rows` is as in `row_of`. Raises DataError for other
    types and missing lists."""
    kind = column.type
    if not (is_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"{where}: values of type {kind}; each row needs a list, oldest first. Convert the column.")
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        row = row_of(int(missing[0]), rows)
        raise DataError(f"{where}, row {row}: no list. Write an empty list for a user without history.")
    lengths = pc.list_value_length(column).to_numpy()
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type)
    return Lists(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))


def item_lists(lists: Lists, where: str, rows: Rows | None = None) -> Encoded:
    """The elements as numbered item ids."""
    values = lists.values.cast(pa.string()) if pa.types.is_null(lists.values.type) else lists.values
    try:
        return encode_ids(values, where)
    except DataError:  # only its message needs the row of each element
        return encode_ids(values, where, (rows or Rows())[lists.rows])


def feedback_lists(
    column: pa.ChunkedArray,
    offsets: np.ndarray,
    where: str,
    rows: Rows | None = None,
    decimal: str | None = None,
    words: Sequence[str] = (),
) -> tuple[pa.LargeListArray, tuple[str, ...]]:
    """A column of lists of numbers, or of words for clicks (`read_clicks`), one for each event of the histories with
    these `offsets`; NaN where an element is missing, or one of the `words` for it. And what was detected.

    Raises DataError naming the row where the lengths differ, or where a number is infinite or too large.
    """
    lists = read_lists(column, where, rows)
    wrong = np.flatnonzero(np.diff(lists.offsets) != np.diff(offsets))
    if len(wrong):
        index = int(wrong[0])
        have, need = np.diff(lists.offsets)[index], np.diff(offsets)[index]
        raise DataError(
            f"{where}, row {row_of(index, rows)}: {counted(have, 'numbers')} for a history of "
            f"{counted(need, 'events')}. Give one for each event."
        )
    values, of_value = plain_column(lists.values), (rows or Rows())[lists.rows]
    if pa.types.is_null(values.type):
        values = values.cast(pa.float64())
    if is_text(values.type):
        values = pc.utf8_trim_whitespace(values)
    known = ~is_missing(values, (*NULLS, *words)).to_numpy()
    given = values.filter(pa.array(known))
    read = read_clicks(given, where, of_value[np.flatnonzero(known)], decimal)
    numbers = np.full(len(values), np.nan)
    numbers[known] = read.values
    if words and len(given) and is_text(given.type) and click_words(given[0].as_py()) is None:  # 0.0 is the word 0
        numbers[is_word(pa.chunked_array([numbers]), words).to_numpy()] = np.nan
    return pa.LargeListArray.from_arrays(lists.offsets, pa.array(numbers)), read.notes

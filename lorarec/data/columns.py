"""Columns: the names that lorarec knows, and readers of their values: numbers, times, weights, lists.

Values of any type become finite float64 or numbered ids; others are refused with file, column and row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.config.strict import did_you_mean
from lorarec.data.ids import Encoded, encode_ids
from lorarec.errors import DataError

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
    listed = f"Columns: {', '.join(available)}."
    return DataError(f"{origin}: no column '{name}'{detail}.{did_you_mean(name, available)} {listed}")


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


def numbers(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """[n] float64: numbers, numbers written as text, true/false as 1/0. `where` names file and column.

    Raises DataError naming the row and value of the first one that is missing, NaN, infinite or not a number.
    """
    return _finite(column, as_float(column, where), where)


def weights(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """[n] float64 weights of rows, as scikit-learn's `sample_weight`: 0 or more, and not all 0.

    Raises DataError naming the row and value of the first one that is negative or not a number.
    """
    values = numbers(column, where)
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise DataError(
            f"{where}, row {row + 1}: {values[row]:g} is below 0. Weights are 0 (the row is not learned from) or more."
        )
    if not values.any():
        raise DataError(f"{where}: all {len(values)} weights are 0, so that nothing would be learned.")
    return values


def seconds(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """[n] float64 seconds: numbers as they are; dates, and ISO 8601 dates written as text, since 1970."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if _is_text(column.type):
        column = _parsed_times(column)
    if pa.types.is_timestamp(column.type):
        # Microseconds: a float64 holds those of current dates exactly.
        micros = _array(column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()))
        return _finite(column, micros / 1e6, where)
    return numbers(column, where)


def as_float(column: pa.ChunkedArray, where: str, rows: np.ndarray | None = None) -> np.ndarray:
    """[n] float64 like `numbers`, but missing and infinite values are allowed (missing ones as NaN).

    `rows` [n] names the row of each value where that is not its index.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
              or pa.types.is_null(kind) or _is_text(kind)):  # fmt: skip
        raise DataError(f"{where}: values of type {kind} are not numbers. Convert the column.")
    try:
        return _array(column.cast(pa.float64(), safe=False))
    except pa.ArrowInvalid:
        index = _first_word(column)
        row, value = index if rows is None else int(rows[index]), column[index].as_py()
        raise DataError(f"{where}, row {row + 1}: {value!r} is not a number. Correct or remove the row.") from None


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


def read_lists(column: pa.ChunkedArray, where: str) -> Lists:
    """A column of lists, flat. `where` names file and column. Raises DataError for other types and missing
    lists."""
    kind = column.type
    if not (is_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"{where}: values of type {kind}; each row needs a list, oldest first. Convert the column.")
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        raise DataError(f"{where}, row {missing[0] + 1}: no list. Write an empty list for a user without history.")
    lengths = pc.list_value_length(column).to_numpy()
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type)
    return Lists(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))


def item_lists(lists: Lists, where: str) -> Encoded:
    """The elements as numbered item ids."""
    values = lists.values.cast(pa.string()) if pa.types.is_null(lists.values.type) else lists.values
    return encode_ids(values, where, lists.rows)


def feedback_lists(column: pa.ChunkedArray, history: Lists, where: str) -> pa.LargeListArray:
    """A column of lists of numbers, one for each event of the histories; NaN where an element is missing.

    Raises DataError naming the row where the lengths differ, or where a number is infinite.
    """
    lists = read_lists(column, where)
    wrong = np.flatnonzero(np.diff(lists.offsets) != np.diff(history.offsets))
    if len(wrong):
        row = wrong[0]
        have, need = np.diff(lists.offsets)[row], np.diff(history.offsets)[row]
        raise DataError(
            f"{where}, row {row + 1}: {have} numbers for a history of {need} events. Give one for each event."
        )
    values = as_float(lists.values, where, lists.rows)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(f"{where}, row {lists.rows[infinite[0]] + 1}: an infinite number. Correct or remove the row.")
    return pa.LargeListArray.from_arrays(lists.offsets, pa.array(values))


def _array(column: pa.ChunkedArray) -> np.ndarray:
    values = column.to_numpy()
    return np.asarray(values, np.float64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _parsed_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO dates as timestamps, with a time zone or without (then UTC); the column unchanged where it holds none."""
    for zone in ("UTC", None):
        try:
            return column.cast(pa.timestamp("us", zone))
        except pa.ArrowInvalid:
            continue
    return column


def _first_word(column: pa.ChunkedArray) -> int:
    """The index of the first text that is not a number, by bisection."""
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            column.slice(start, middle - start).cast(pa.float64())
            start = middle
        except pa.ArrowInvalid:
            stop = middle
    return start


def _finite(column: pa.ChunkedArray, values: np.ndarray, where: str) -> np.ndarray:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        value = column[row].as_py()
        what = "the value is missing" if value is None else f"{value!r} is not a finite number"
        raise DataError(f"{where}, row {row + 1}: {what}. Correct or remove the row.")
    return values

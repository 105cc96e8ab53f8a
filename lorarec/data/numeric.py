"""Times and labels as finite float64, whatever type a file gave them; what is no number is refused by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.errors import DataError


def numbers(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """[n] float64: numbers, numbers written as text, true/false as 1/0. `place` names file and column.

    Raises DataError naming the row and value of the first one that is missing, NaN, infinite or no number.
    """
    return _finite(column, as_float(column, place), place)


def weights(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """[n] float64 weights of rows, as scikit-learn's `sample_weight`: 0 or more, and not all 0.

    Raises DataError naming the row and value of the first one that is negative or no number.
    """
    found = numbers(column, place)
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        raise DataError(
            f"{place}, row {row + 1}: {found[row]:g} is below 0. Weights are 0 (the row is not learned from) or more."
        )
    if not found.any():
        raise DataError(f"{place}: all {len(found)} weights are 0, so that nothing would be learned.")
    return found


def seconds(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """[n] float64 seconds: numbers as they are; dates, and ISO 8601 dates written as text, since 1970."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if _is_text(column.type):
        column = _parsed_times(column)
    if pa.types.is_timestamp(column.type):
        # The unit is microseconds at least: a float64 holds those of our era exactly.
        micros = _array(column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()))
        return _finite(column, micros / 1e6, place)
    return numbers(column, place)


def as_float(column: pa.ChunkedArray, place: str, rows: np.ndarray | None = None) -> np.ndarray:
    """[n] float64 like `numbers`, but missing and infinite values pass (missing ones as NaN).

    `rows` [n] names the row of each value where it is not its own place.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
              or pa.types.is_null(kind) or _is_text(kind)):  # fmt: skip
        raise DataError(f"{place}: values of type {kind} are no numbers; convert the column.")
    try:
        return _array(column.cast(pa.float64(), safe=False))
    except pa.ArrowInvalid:
        index, value = _first_word(column)
        row = index if rows is None else int(rows[index])
        raise DataError(f"{place}, row {row + 1}: {value!r} is no number. Mend or remove the row.") from None


def _array(column: pa.ChunkedArray) -> np.ndarray:
    values = column.to_numpy()
    return np.asarray(values, np.float64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _parsed_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO dates as timestamps, with or without a zone (then UTC); the column unchanged where it holds
    none."""
    for zone in ("UTC", None):
        try:
            return column.cast(pa.timestamp("us", zone))
        except pa.ArrowInvalid:
            continue
    return column


def _first_word(column: pa.ChunkedArray) -> tuple[int, Any]:
    """Place and value of the first text that is no number; only walked on the way to an error."""
    for row, value in enumerate(column.to_pylist()):
        try:
            float(value if value is not None else 0)
        except ValueError:
            return row, value
    # Python reads a few spellings that Arrow does not ("1_000"); those are the ones left.
    row = next(row for row, value in enumerate(column.to_pylist()) if not _arrow_reads(value))
    return row, column[row].as_py()


def _arrow_reads(value: Any) -> bool:
    try:
        pc.cast(pa.scalar(value, pa.string()), pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _finite(column: pa.ChunkedArray, values: np.ndarray, place: str) -> np.ndarray:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        value = column[row].as_py()
        what = "the value is missing" if value is None else f"{value!r} is not a finite number"
        raise DataError(f"{place}, row {row + 1}: {what}. Mend or remove the row.")
    return values

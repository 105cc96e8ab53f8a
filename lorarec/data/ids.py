"""Ids: text or whole numbers as they are written, encoded as integers in Arrow without a loop over rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.errors import DataError

EXACT = 2**53
"""Beyond it, float64 does not hold all whole numbers: ids that became floats have changed."""
SCIENTIFIC = r"^[+-]?[0-9](\.[0-9]+)?[eE]\+[0-9]{2,}$"
"""How spreadsheets and columns of floats write whole numbers that are too long for them (7.65612E+16); 12E4, without a
sign, is a text id."""
KINDS = "Give text or a whole number, or remove the row."
EXPORT = (
    "Export the column as text, or as whole numbers: a spreadsheet or a column of floats has rounded the ids, so that "
    "different ones have become the same."
)


class Encoded(NamedTuple):
    """A column of n ids, encoded by first appearance."""

    codes: np.ndarray
    """[n] int64 indices into `ids`."""
    ids: pa.Array
    """Distinct ids as strings."""


def encode_ids(column: pa.ChunkedArray, where: str, rows: np.ndarray | None = None, what: str = "id") -> Encoded:
    """Encode ids: text as it is written, whole numbers (also those kept as floats) in digits.

    `where` names file and column for messages, `rows` [n] the row of each id where that is not its index,
    `what` is the noun for messages.

    Raises DataError naming row and value of the first id that is missing, empty, of another type, not whole, or rounded
    by the program that wrote it.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = pc.index(column.is_null(nan_is_null=True), pa.scalar(True)).as_py()
    if missing >= 0:
        raise _refusal(where, missing, rows, f"the {what} is missing")
    column = _plain(column, where, rows, what)
    # Numbers are encoded before they are written as text: text is made once per id, not once per row.
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ids = encoded.dictionary.cast(pa.string())
    for bad, problem, remedy in (
        (np.flatnonzero(pc.equal(ids, "")), f"the {what} is empty", KINDS),
        (_rounded(ids), f"digits of the {what} are lost in {{id!r}}", EXPORT),
    ):
        if len(bad):
            row = int(np.flatnonzero(np.isin(codes, bad))[0])
            raise _refusal(where, row, rows, problem.format(id=ids[int(codes[row])].as_py()), remedy)
    return Encoded(codes, ids)


def encode_distinct(column: pa.ChunkedArray, where: str, what: str) -> Encoded:
    """Encode the ids of a table that has one row for each `what` ("item").

    Raises DataError as `encode_ids` does, and naming the row of an id that is listed again.
    """
    encoded = encode_ids(column, where)
    if len(encoded.ids) < len(encoded.codes):
        first = np.unique(encoded.codes, return_index=True)[1]
        row = int(np.setdiff1d(np.arange(len(encoded.codes)), first)[0])
        code = int(encoded.codes[row])
        raise DataError(
            f"{where}, row {row + 1}: {what} '{encoded.ids[code].as_py()}' is listed again (first in row "
            f"{first[code] + 1}). Keep one row for each {what}."
        )
    return encoded


def id_texts(column: pa.ChunkedArray, where: str) -> list[str]:
    """[n] ids as text, one per row. Raises DataError as `encode_ids` does."""
    encoded = encode_ids(column, where)
    texts: list[str] = encoded.ids.take(pa.array(encoded.codes)).to_pylist()
    return texts


def merge_ids(columns: list[Encoded]) -> tuple[list[np.ndarray], pa.Array]:
    """One encoding for several columns: the codes of each, and all ids in order of first appearance."""
    merged = pa.concat_arrays([column.ids for column in columns]).dictionary_encode()
    indices = merged.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum([0, *(len(column.ids) for column in columns)])
    codes = [indices[start:][column.codes] for start, column in zip(starts, columns, strict=False)]
    return codes, merged.dictionary


def _refusal(where: str, index: int, rows: np.ndarray | None, what: str, remedy: str = KINDS) -> DataError:
    row = (index if rows is None else int(rows[index])) + 1
    return DataError(f"{where}, row {row}: {what}. {remedy}")


def _rounded(ids: pa.Array) -> list[int]:
    """Indices of the ids that are written with fewer digits after the point than their exponent needs."""
    written = ((code, ids[code].as_py()) for code in np.flatnonzero(pc.match_substring_regex(ids, SCIENTIFIC)).tolist())
    parts = ((code, *text.upper().split("E+")) for code, text in written)
    return [code for code, mantissa, power in parts if int(power[:9]) > len(mantissa.partition(".")[2])]


def _plain(column: pa.ChunkedArray, where: str, rows: np.ndarray | None, what: str) -> pa.ChunkedArray:
    """Integers and text as they are; whole floats (integers that pandas widened) as integers."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        large = pc.index(pc.greater(pc.abs(column), EXACT), pa.scalar(True)).as_py()
        if large >= 0:
            value = column[large].as_py()
            raise _refusal(where, large, rows, f"digits of the {what} are lost in the float {value!r}", EXPORT)
        fraction = pc.index(pc.equal(column, pc.floor(column)), pa.scalar(False)).as_py()
        if fraction < 0:
            return column.cast(pa.int64())
        raise _refusal(where, fraction, rows, f"{column[fraction].as_py()!r} is not a valid {what}")
    raise DataError(f"{where}: values of type {kind} cannot be a {what}. Convert it to text or whole numbers.")

"""Ids: text or whole numbers as they are written, encoded as integers in Arrow without a loop over rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.file_rows import Rows, row_of
from lorarec.data.numbers import is_text
from lorarec.data.ordering import blocks
from lorarec.errors import DataError

EXACT = 2**53
"""From it on, float64 does not hold all whole numbers: ids that became floats may have changed."""
MANTISSA = {16: 11, 32: 24, 64: 53}
"""Width of a float -> bits of its digits: half and single precision hold still fewer whole numbers."""
SCIENTIFIC = r"^[+-]?[0-9](\.[0-9]+)?[eE]\+[0-9]{2,}$"
"""How spreadsheets and columns of floats write whole numbers that are too long for them (7.65612E+16); 12E4, without a
sign, is a text id."""
WIDE = 2**31 - 1
"""Bytes of text from which on Arrow needs 64-bit offsets (large_string)."""
LONGEST = 20
"""Digits of the longest whole number, with its sign."""
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


def encode_ids(column: pa.ChunkedArray, where: str, rows: Rows | None = None, what: str = "id") -> Encoded:
    """Encode ids: text as it is written, whole numbers (also those kept as floats) in digits.

    `where` names file and column for messages, `rows` [n] the row of each id where that is not its index,
    `what` is the noun for messages.

    Raises DataError naming row and value of the first id that is missing, empty, of another type, not whole, or rounded
    by the program that wrote it.
    """
    texts = pa.types.is_dictionary(column.type) and is_text(column.type.value_type)
    if pa.types.is_dictionary(column.type) and not texts:
        column = column.cast(column.type.value_type)
    missing = pc.index(column.is_null(nan_is_null=True), pa.scalar(True)).as_py()
    if missing >= 0:
        raise _refusal(where, missing, rows, f"the {what} is missing")
    # Numbers are encoded before they are written as text: text is made once per id, not once per row.
    codes, ids = _of_dictionaries(column) if texts else _of_values(plain_ids(column, where, rows, what))
    ids = ids.cast(pa.large_string() if len(ids) * LONGEST + ids.nbytes > WIDE else pa.string())
    for bad, problem, remedy in (
        (np.flatnonzero(pc.equal(ids, "")), f"the {what} is empty", KINDS),
        (_rounded(ids), f"digits of the {what} are lost in {{id!r}}", EXPORT),
    ):
        if len(bad):
            odd = np.flatnonzero(np.isin(codes, bad))
            first = int(odd[0])
            raise _refusal(where, first, rows, problem.format(id=ids[int(codes[first])].as_py()), remedy, len(odd))
    return Encoded(codes, ids)


def encode_distinct(column: pa.ChunkedArray, where: str, what: str, rows: Rows | None = None) -> Encoded:
    """Encode the ids of a table that has one row for each `what` ("item"); `rows` is as in `row_of`.

    Raises DataError as `encode_ids` does, and naming the row of an id that is listed again.
    """
    encoded = encode_ids(column, where, rows)
    if len(encoded.ids) < len(encoded.codes):
        first = np.unique(encoded.codes, return_index=True)[1]
        row = int(np.setdiff1d(np.arange(len(encoded.codes)), first)[0])
        code = int(encoded.codes[row])
        raise DataError(
            f"{where}, row {row_of(row, rows)}: {what} '{encoded.ids[code].as_py()}' is listed again (first in row "
            f"{row_of(int(first[code]), rows)}). Keep one row for each {what}."
        )
    return encoded


def id_texts(column: pa.ChunkedArray, where: str) -> list[str]:
    """[n] ids as text, one per row. Raises DataError as `encode_ids` does."""
    encoded = encode_ids(column, where)
    texts: list[str] = encoded.ids.take(pa.array(encoded.codes)).to_pylist()
    return texts


def merge_ids(columns: list[Encoded]) -> tuple[list[np.ndarray], pa.Array]:
    """One encoding for several columns: the codes of each, and all ids in order of first appearance."""
    kind = pa.string() if sum(column.ids.nbytes for column in columns) <= WIDE else pa.large_string()
    indices, ids = _of_values(pa.chunked_array([column.ids.cast(kind) for column in columns]))
    starts = np.cumsum([0, *(len(column.ids) for column in columns)])
    codes = [
        column.codes if start == 0 else indices[start:][column.codes]  # the first come first in `ids`, too
        for start, column in zip(starts, columns, strict=False)
    ]
    return codes, ids


def _refusal(where: str, index: int, rows: Rows | None, what: str, remedy: str = KINDS, count: int = 1) -> DataError:
    """`count`: in how many rows it is so."""
    more = f" (so in {count:,} rows)" if count > 1 else ""
    return DataError(f"{where}, row {row_of(index, rows)}: {what}{more}. {remedy}")


def _rounded(ids: pa.Array) -> list[int]:
    """Indices of the ids that are written with fewer digits after the point than their exponent needs."""
    written = ((code, ids[code].as_py()) for code in np.flatnonzero(pc.match_substring_regex(ids, SCIENTIFIC)).tolist())
    parts = ((code, *text.upper().split("E+")) for code, text in written)
    return [code for code, mantissa, power in parts if int(power[:9]) > len(mantissa.partition(".")[2])]


def _of_values(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """The codes and the distinct values, by first appearance."""
    if column.type == pa.string() and column.nbytes > WIDE:
        column = column.cast(pa.large_string())
    encoded = column.dictionary_encode().unify_dictionaries()
    return _indices(encoded), encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], column.type)


def _of_dictionaries(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """As `_of_values`, of texts that come dictionary-encoded, in any order and with words that no row has."""
    if column.type.value_type == pa.string() and sum(chunk.dictionary.nbytes for chunk in column.chunks) > WIDE:
        wide = ((chunk.indices, chunk.dictionary.cast(pa.large_string())) for chunk in column.chunks)
        column = pa.chunked_array([pa.DictionaryArray.from_arrays(*parts) for parts in wide])
    if not all(chunk.dictionary.equals(column.chunk(0).dictionary) for chunk in column.chunks):
        column = column.unify_dictionaries()
    if not column.num_chunks:
        return np.empty(0, np.int64), pa.array([], column.type.value_type)
    codes, words = _indices(column), column.chunk(0).dictionary
    if words.null_count or pc.count_distinct(words).as_py() < len(words):
        return _of_values(column.cast(words.type))
    first = np.full(len(words), len(codes))
    for block in reversed(list(blocks(len(codes)))):
        first[codes[block][::-1]] = np.arange(block.start, block.stop)[::-1]  # of equal indices, the last one counts
    order = np.argsort(first, kind="stable")[: int(np.count_nonzero(first < len(codes)))]
    number = np.empty(len(words), np.int64)
    number[order] = np.arange(len(order))
    for block in blocks(len(codes)):
        codes[block] = number[codes[block]]
    return codes, words.take(pa.array(order))


def _indices(column: pa.ChunkedArray) -> np.ndarray:
    """[n] int64 the indices of a dictionary-encoded column."""
    codes, start = np.empty(len(column), np.int64), 0
    for chunk in column.chunks:
        codes[start : start + len(chunk)] = chunk.indices.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return codes


def refuse_rounded(column: pa.ChunkedArray, where: str, rows: Rows | None = None, what: str = "id") -> None:
    """Raise DataError naming the first of a column of floats that may be another number than was written."""
    values = column.cast(pa.float64())
    limit = 2.0 ** MANTISSA[column.type.bit_width]
    large = pc.greater_equal(pc.abs(values), limit)
    first = pc.index(large, pa.scalar(True)).as_py()
    if first >= 0:
        problem = f"digits of the {what} are lost in the float {values[first].as_py()!r}"
        raise _refusal(where, first, rows, problem, EXPORT, pc.sum(large).as_py())


def plain_ids(column: pa.ChunkedArray, where: str, rows: Rows | None = None, what: str = "id") -> pa.ChunkedArray:
    """Integers and text as they are; decimals as text, whole floats (integers that pandas widened) as integers.
    Arguments and errors are those of `encode_ids`; null stays null."""
    kind = column.type
    if pa.types.is_integer(kind) or is_text(kind):
        return column
    if pa.types.is_decimal(kind) and kind.scale == 0:  # as databases export their whole numbers
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        refuse_rounded(column, where, rows, what)
        column = column.cast(pa.float64())
        fraction = pc.index(pc.equal(column, pc.floor(column)), pa.scalar(False)).as_py()
        if fraction < 0:
            return column.cast(pa.int64())
        raise _refusal(where, fraction, rows, f"{column[fraction].as_py()!r} is not a valid {what}")
    raise DataError(f"{where}: values of type {kind}, but each {what} is text or a whole number. Convert the column.")

"""Ids of any type as numbers: dictionary encoding in Arrow, no Python loop over rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.errors import DataError


class Encoded(NamedTuple):
    """A column of n ids, numbered by first appearance."""

    codes: np.ndarray
    """[n] int64 places in `ids`."""
    ids: pa.Array
    """Distinct ids as strings."""


def encode_ids(column: pa.ChunkedArray, place: str, rows: np.ndarray | None = None) -> Encoded:
    """Number ids: text, or whole numbers written as text.

    `place` names file and column for messages, `rows` [n] the row of each id where it is not its own place.

    Raises DataError naming the row of the first id that is missing, empty or of another type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = pc.index(column.is_null(nan_is_null=True), pa.scalar(True)).as_py()
    if missing >= 0:
        raise _refusal(place, missing, rows, "the id is missing")
    column = _plain(column, place, rows)
    # Numbers are encoded before they are written as text: text is made once per id, not once per row.
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ids = encoded.dictionary.cast(pa.string())
    empty = pc.index(ids, pa.scalar("")).as_py()
    if empty >= 0:
        raise _refusal(place, int(np.flatnonzero(codes == empty)[0]), rows, "the id is empty")
    return Encoded(codes, ids)


def merge_ids(columns: list[Encoded]) -> tuple[list[np.ndarray], pa.Array]:
    """One numbering for several columns: codes of each in it, and all ids in order of first appearance."""
    merged = pa.concat_arrays([column.ids for column in columns]).dictionary_encode()
    places = merged.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum([0, *(len(column.ids) for column in columns)])
    codes = [places[start:][column.codes] for start, column in zip(starts, columns, strict=False)]
    return codes, merged.dictionary


def _refusal(place: str, index: int, rows: np.ndarray | None, what: str) -> DataError:
    row = (index if rows is None else int(rows[index])) + 1
    return DataError(f"{place}, row {row}: {what}. Ids are text or whole numbers: mend or remove the row.")


def _plain(column: pa.ChunkedArray, place: str, rows: np.ndarray | None) -> pa.ChunkedArray:
    """Integers and text as they are; whole floats (integers that pandas widened) as integers."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    if pa.types.is_floating(kind):
        fraction = pc.index(pc.equal(column, pc.floor(column)), pa.scalar(False)).as_py()
        if fraction < 0:
            return column.cast(pa.int64())
        raise _refusal(place, fraction, rows, f"{column[fraction].as_py()!r} is no id")
    raise DataError(f"{place}: values of type {kind} are no ids. Ids are text or whole numbers; convert the column.")

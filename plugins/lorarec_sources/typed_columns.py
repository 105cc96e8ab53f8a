"""Decide what type a column of words has, from all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

PADDED = r"^\s*[+-]?0[0-9]"
"""A number written with leading zeros, such as the id 007: it must stay a word, or 007 and 7 would be one."""


class ColumnTypes:
    """The narrowest type that all values of each column fit: int64, float64, or string.

    Numbers with leading zeros, and whole numbers too large for int64, make the column one of strings. An
    empty field is null in a column of numbers, and the empty string in a column of strings.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.types: dict[str, pa.DataType] = {name: pa.null() for name in names}

    def see(self, table: pa.Table) -> None:
        """Take more rows (all columns strings) into account."""
        for name, known in self.types.items():
            if known != pa.string():
                self.types[name] = _wider(known, _type_of(table.column(name)))

    def convert(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Tables of strings, converted."""
        for table in tables:
            columns = [_converted(table.column(name), wanted) for name, wanted in self.types.items()]
            yield pa.table(dict(zip(self.types, columns, strict=True)))


def _type_of(column: pa.ChunkedArray) -> pa.DataType:
    values = _filled(column)
    if len(values) == 0:
        return pa.null()
    if pc.any(pc.match_substring_regex(values, PADDED)).as_py():
        return pa.string()
    for wanted in (pa.int64(), pa.float64()):
        try:
            values.cast(wanted)
        except pa.ArrowInvalid:
            continue
        digits = pc.match_substring_regex(values, r"^[+-]?[0-9]{16,}$")
        return pa.string() if wanted == pa.float64() and pc.any(digits).as_py() else wanted
    return pa.string()


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.filter(pc.not_equal(column, ""))


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    order = [pa.null(), pa.int64(), pa.float64(), pa.string()]
    return max(one, other, key=order.index)


def _converted(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if wanted in (pa.string(), pa.null()):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column).cast(wanted)

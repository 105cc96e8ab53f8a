"""Readers of csv and tsv files: columns are checked, ids kept as written, and errors name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from lorarec.data.columns import common_type
from lorarec.errors import DataError

BLOCK = 1 << 24
"""Bytes read at a time."""
WHOLE = r"^(0|-?[1-9][0-9]*)$"
"""A whole number in canonical spelling: 007, +5, -0, 12E4 and 0x1F are text, because as ids they are not 7, 5, 0,
120000 and 31."""
DECIMAL = r"^(0(\.0+)?|-?[1-9][0-9]{0,14}(\.[0-9]+)?|-?0\.[0-9]*[1-9][0-9]*|-?[1-9](\.[0-9]+)?[eE]-[0-9]+)$"
"""A number that float64 holds, spelled so that no two different whole numbers become equal (5.0 may become 5)."""


def delimited_tables(path: Path, tab: bool, text: bool = False) -> Iterator[pa.Table]:
    """A csv file (quoted fields may hold commas and newlines), or with `tab` a tsv file (tabs separate fields; quotes
    are ordinary characters), with a header line, in UTF-8; an empty table first, then one per block.

    A column becomes int64 or float64 if every value of the whole file is spelled like one, and stays text otherwise,
    or with `text` always. Raises DataError naming file and line: a row with too few or too many fields, an unclosed
    quote, an empty file, a column named twice, bytes that are not UTF-8.
    """
    names = header(path, tab)
    if not tab and _has_quotes(path):
        # Arrow reads an unclosed quote to the end of the file, as one field with all its rows.
        _check_lines(path, tab, names)
    if text:
        yield from _words(path, tab, names)
        return
    types = ColumnTypes(names)
    for table in _words(path, tab, names):
        types.see(table)
    yield from types.convert(_words(path, tab, names))


def header(path: Path, tab: bool) -> list[str]:
    """The column names on line 1. Raises DataError where one is missing, empty or appears twice."""
    _, names = next(_lines(path, tab), (1, []))
    if not names:
        raise DataError(f"{path}: the file is empty. Line 1 must name the columns.")
    for name in names:
        if not name.strip():
            raise DataError(f"{path}, line 1: a column has no name (the header is {', '.join(names)!r}).")
        if names.count(name) > 1:
            raise DataError(f"{path}, line 1: the column '{name}' appears twice. Rename one of them.")
    return names


def raise_not_utf8(path: Path) -> None:
    """Raise DataError naming the line whose bytes are not UTF-8, if there is one."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise DataError(
                    f"{path}, line {number}: byte 0x{byte:02x} at position {error.start + 1} is not UTF-8. "
                    "Save the file as UTF-8 (it may be in Latin-1 or Windows-1252 now)."
                ) from error


class ColumnTypes:
    """The narrowest type of all values of each column by their spelling: int64, float64, or string.

    One value that is spelled otherwise makes the column string. An empty field is null in a column of
    numbers, and the empty string in a column of strings.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.types: dict[str, pa.DataType] = {name: pa.null() for name in names}

    def see(self, table: pa.Table) -> None:
        """Update the types by more rows (all columns strings)."""
        for name, known in self.types.items():
            if known != pa.string():
                self.types[name] = common_type(known, _type_of(table.column(name)))

    def convert(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Tables of strings, converted."""
        for table in tables:
            columns = [_converted(table.column(name), target) for name, target in self.types.items()]
            yield pa.table(dict(zip(self.types, columns, strict=True)))


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of strings as `ColumnTypes` reads it."""
    return _converted(column, _type_of(column))


def _type_of(column: pa.ChunkedArray) -> pa.DataType:
    values = column.filter(pc.not_equal(column, ""))
    if len(values) == 0:
        return pa.null()
    if pc.all(pc.match_substring_regex(values, WHOLE)).as_py():
        try:
            values.cast(pa.int64())
        except pa.ArrowInvalid:
            return pa.string()
        return pa.int64()
    return pa.float64() if pc.all(pc.match_substring_regex(values, DECIMAL)).as_py() else pa.string()


def _converted(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    if target in (pa.string(), pa.null()):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column).cast(target)


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(BLOCK), b""))


def _words(path: Path, tab: bool, names: list[str]) -> Iterator[pa.Table]:
    """Tables of strings: an empty one, and one per block."""
    schema = pa.schema([(name, pa.string()) for name in names])
    yield schema.empty_table()
    try:
        reader = pacsv.open_csv(
            path,
            read_options=pacsv.ReadOptions(block_size=BLOCK, column_names=names, skip_rows=1),
            parse_options=pacsv.ParseOptions(
                delimiter="\t" if tab else ",", quote_char=False if tab else '"', newlines_in_values=not tab
            ),
            convert_options=pacsv.ConvertOptions(column_types=schema, strings_can_be_null=False),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise_not_utf8(path)
        _check_lines(path, tab, names)
        raise DataError(f"{path}: {error}") from error


def _check_lines(path: Path, tab: bool, names: list[str]) -> None:
    for line, row in _lines(path, tab):
        if row and len(row) != len(names):
            raise DataError(
                f"{path}, line {line}: {len(row)} fields, but line 1 names {len(names)} columns "
                f"({', '.join(names)}). The row begins {','.join(row)[:60]!r}."
            )


def _lines(path: Path, tab: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows, including the header, each with the line it begins on."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        # TSV takes quotes literally.
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if tab else csv.reader(file, strict=True)
        line = 1
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}. A quote may be unclosed or stray.") from error
        except UnicodeDecodeError:
            raise_not_utf8(path)
            raise

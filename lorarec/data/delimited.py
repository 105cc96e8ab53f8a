"""Readers of csv and tsv files: columns are checked, ids kept as written, and errors name the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from lorarec.data import open_files
from lorarec.data.columns import common_type
from lorarec.data.header import Delimited, delimited, rows_of
from lorarec.data.open_files import (
    DETECT,
    ReadOptions,
    open_bytes,
    open_utf8,
    other_columns,
    raise_undecodable,
    read_errors,
    too_long,
)
from lorarec.errors import DataError, counted

WHOLE = r"^(0|-?[1-9][0-9]*)$"
"""A whole number in canonical spelling: 007, +5, -0, 12E4 and 0x1F are text, because as ids they are not 7, 5, 0,
120000 and 31."""
DECIMAL = r"^(0(\.0+)?|-?[1-9][0-9]{0,14}(\.[0-9]+)?|-?0\.[0-9]*[1-9][0-9]*|-?[1-9](\.[0-9]+)?[eE]-[0-9]+)$"
"""A number that float64 holds, spelled so that no two different whole numbers become equal (5.0 may become 5). One that
float64 rounds to a whole number, such as 1e-400, is text."""


def delimited_tables(
    paths: Sequence[Path], tab: bool, text: bool = False, options: ReadOptions = DETECT
) -> Iterator[pa.Table]:
    """csv files (quoted fields may hold separators and newlines), or with `tab` tsv files (tabs separate fields; quotes
    are ordinary characters), one after the other; an empty table first, then one per block.

    A column becomes int64 or float64 if every value in all files is spelled like one, and stays text otherwise,
    or with `text` always. Raises DataError naming file and line: a row with too few or too many fields, an unclosed
    quote, an empty file, a column named twice, undecodable bytes, and files of different columns.
    """
    files = [delimited(path, tab, options) for path in paths]
    for file in files:
        if set(file.names) != set(files[0].names):
            raise other_columns(file.path, file.names, files[0].path, files[0].names)
        _refuse_broken(file)

    def words() -> Iterator[pa.Table]:
        return chain.from_iterable(_words(file, files[0].names) for file in files)

    yield from words() if text else _typed_tables(words, files[0].names, options.decimal)


def _typed_tables(words: Callable[[], Iterator[pa.Table]], names: list[str], decimal: str | None) -> Iterator[pa.Table]:
    types = ColumnTypes(names, decimal)
    for table in words():
        types.see(table)
    yield from types.convert(words())


class ColumnTypes:
    """The narrowest type of all values of each column by their spelling: int64, float64, or string.

    One value that is spelled otherwise makes the column string. An empty field is null in a column of
    numbers, and the empty string in a column of strings.
    """

    def __init__(self, names: Iterable[str], decimal: str | None = None) -> None:
        """`decimal`: the decimal mark, where it is set; with a comma, 1.234 is no float64, and stays text."""
        self.types: dict[str, pa.DataType] = {name: pa.null() for name in names}
        self._decimal = decimal

    def see(self, table: pa.Table) -> None:
        """Update the types by more rows (all columns strings)."""
        for name, known in self.types.items():
            if known != pa.string():
                self.types[name] = common_type(known, _type_of(table.column(name), self._decimal))

    def convert(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Tables of strings, converted."""
        for table in tables:
            columns = [_converted(table.column(name), target) for name, target in self.types.items()]
            yield pa.table(dict(zip(self.types, columns, strict=True)))


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of strings as `ColumnTypes` reads it."""
    return _converted(column, _type_of(column))


def _type_of(column: pa.ChunkedArray, decimal: str | None = None) -> pa.DataType:
    values = column.filter(pc.not_equal(column, ""))
    if len(values) == 0:
        return pa.null()
    if pc.all(pc.match_substring_regex(values, WHOLE)).as_py():
        try:
            values.cast(pa.int64())
        except pa.ArrowInvalid:
            return pa.string()
        return pa.int64()
    if decimal == "," or not pc.all(pc.match_substring_regex(values, DECIMAL)).as_py():
        return pa.string()
    floats = values.cast(pa.float64())
    whole = values.filter(pc.equal(floats, pc.floor(floats)))
    rounded = pc.any(pc.match_substring_regex(whole, r"\.[0-9]*[1-9]|[eE]")).as_py()
    return pa.string() if rounded else pa.float64()


def _converted(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    if target in (pa.string(), pa.null()):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column).cast(target)


def _refuse_broken(file: Delimited) -> None:
    """Raise DataError for what Arrow does not refuse: an unclosed quote, which it reads to the end of the file as one
    field with all its rows, and NUL."""
    quoted = False
    with read_errors(file.path), open_bytes(file.path) as stream:
        wide = file.encoding.startswith(("utf-16", "utf-32"))
        while block := stream.read(open_files.BLOCK):
            quoted = quoted or b'"' in block
            if not wide and len(block) == open_files.BLOCK and not (b"\n" in block or b"\r" in block):
                raise too_long(file.path)
            if not wide and b"\0" in block:
                raise DataError(
                    f"{file.path}: a NUL byte (0x00), which no text has. Remove it, or set the encoding of the file, "
                    "such as `encoding: utf-16-le`."
                )
    if quoted and not file.literal:
        _check_lines(file)


def _words(file: Delimited, order: list[str]) -> Iterator[pa.Table]:
    """Tables of strings, of columns in this order: an empty one, and one per block."""
    schema = pa.schema([(name, pa.string()) for name in file.names])
    yield schema.empty_table().select(order)
    try:
        with read_errors(file.path, file.encoding):
            reader = pacsv.open_csv(
                open_utf8(file.path, file.encoding),
                read_options=pacsv.ReadOptions(
                    block_size=open_files.BLOCK, column_names=file.names, skip_rows=int(file.header)
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=file.sep,
                    quote_char=False if file.literal else '"',
                    newlines_in_values=not file.literal,
                    invalid_row_handler=(lambda row: "skip") if file.skip else None,
                ),
                convert_options=pacsv.ConvertOptions(column_types=schema, strings_can_be_null=False),
            )
            for batch in reader:
                yield pa.Table.from_batches([batch]).select(order)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error) or "Could not skip initial" in str(error):  # a header without a line end
            return
        raise_undecodable(file.path, file.encoding)
        _check_lines(file)
        if "straddling" in str(error):
            raise too_long(file.path) from error
        raise DataError(f"{file.path}: {error}") from error


def _check_lines(file: Delimited) -> None:
    named = f"line 1 names {len(file.names)} columns" if file.header else f"`header` names {len(file.names)}"
    for line, row in _broken(file):
        if not file.skip:
            raise DataError(
                f"{file.path}, line {line}: {len(row)} fields, but {named} "
                f"({', '.join(file.names)[:200]}). The row begins {file.sep.join(row)[:60]!r}. Correct it, or leave "
                "such rows out: `on_bad_lines: skip` (an option of a table of the source `files`)."
            )


def _broken(file: Delimited) -> Iterator[tuple[int, list[str]]]:
    """The rows with too many or too few fields, each with the line it begins on."""
    for line, row in rows_of(file.path, file.encoding, file.sep, file.literal):
        if row and len(row) != len(file.names):
            yield line, row


def skipped_note(file: Delimited) -> tuple[str, ...]:
    """How many rows `on_bad_lines: skip` leaves out; a pass over the file."""
    lines = [line for line, _ in _broken(file)]
    if not lines:
        return ()
    rows = counted(len(lines), "rows")
    return (f"{rows} of too many or too few fields left out, first line {lines[0]} (on_bad_lines: skip)",)

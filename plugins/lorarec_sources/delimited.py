"""Read csv and tsv files: strict about columns, faithful about ids, exact about lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
from datasets import Dataset

from lorarec.contracts import DataError
from lorarec_sources.arrow_file import arrow_file
from lorarec_sources.typed_columns import ColumnTypes

BLOCK = 1 << 24
"""Bytes read at a time."""


def read_delimited(path: Path) -> Dataset:
    """A csv (quoted fields may hold commas and newlines) or tsv file (tabs part fields; quotes are ordinary
    characters) with a header line, in UTF-8.

    A column becomes int64 or float64 if every value of the whole file fits, and stays text otherwise. Raises
    DataError naming file and line: a row with too few or too many fields, an unclosed quote, an empty file, a
    column named twice, bytes that are not UTF-8.
    """
    names = header(path)
    return arrow_file([path], ["delimited", path.suffix], lambda: _typed(path, names))


def header(path: Path) -> list[str]:
    """The column names on line 1. Raises DataError where they are missing, empty or doubled."""
    _, names = next(_lines(path), (1, []))
    if not names:
        raise DataError(f"{path}: the file is empty. Line 1 must name the columns.")
    for name in names:
        if not name.strip():
            raise DataError(f"{path}, line 1: a column has no name (the header is {', '.join(names)!r}).")
        if names.count(name) > 1:
            raise DataError(f"{path}, line 1: the column {name!r} is there twice. Rename one of them.")
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
                    f"{path}, line {number}: byte 0x{byte:02x} at place {error.start + 1} is not UTF-8. "
                    "Save the file as UTF-8 (it may be in Latin-1 or Windows-1252 now)."
                ) from error


def _typed(path: Path, names: list[str]) -> Iterator[pa.Table]:
    if path.suffix == ".csv" and _has_quotes(path):
        # Arrow takes a quote that is never closed for one that ends with the file, rows and all.
        _check_lines(path, names)
    types = ColumnTypes(names)
    for table in _words(path, names):
        types.see(table)
    return types.convert(_words(path, names))


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(BLOCK), b""))


def _words(path: Path, names: list[str]) -> Iterator[pa.Table]:
    """Tables of strings: an empty one, and one a block."""
    schema = pa.schema([(name, pa.string()) for name in names])
    tab = path.suffix == ".tsv"
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
        _check_lines(path, names)
        raise DataError(f"{path}: {error}") from error


def _check_lines(path: Path, names: list[str]) -> None:
    for line, row in _lines(path):
        if row and len(row) != len(names):
            raise DataError(
                f"{path}, line {line}: {len(row)} fields, but line 1 names {len(names)} columns "
                f"({', '.join(names)}). The row begins {','.join(row)[:60]!r}."
            )


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows, the header among them, each with the line it begins on."""
    tab = path.suffix == ".tsv"
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

"""The form of a csv or tsv file: its encoding, separator and column names, set or detected from its first rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lorarec.data import open_files
from lorarec.data.open_files import MOST_COLUMNS, UTF8, ReadOptions, encoding_of, open_text, read_errors, too_long
from lorarec.errors import DataError

SEPARATORS = ",;\t|"
"""Those that are detected."""
SAMPLE_ROWS, SAMPLE_CHARACTERS = 100, 1 << 18
"""What a separator is detected from."""

csv.field_size_limit(open_files.BLOCK)


class Delimited(NamedTuple):
    """A csv or tsv file, and how it is read."""

    path: Path
    encoding: str
    sep: str
    literal: bool
    """Whether quotes are ordinary characters."""
    names: list[str]
    header: bool
    """Whether line 1 has the names."""
    skip: bool
    """Whether rows with too many or too few fields are left out, or refused."""
    notes: tuple[str, ...]
    """What was detected."""


def delimited(path: Path, tab: bool, options: ReadOptions) -> Delimited:
    """The form of a file whose fields are separated by tabs (`tab`) or commas, unless set or detected otherwise.

    Raises DataError where it cannot be read, where the first rows fit two separators, and where a column has no name or
    the name of another one.
    """
    if options.sep is not None and not (len(options.sep) == 1 and options.sep.isascii() and options.sep not in "\r\n"):
        raise DataError(f"{path}: `sep: {options.sep!r}` is not one ASCII character. Give the one between the fields.")
    encoding = encoding_of(path, options)
    with read_errors(path, encoding), open_text(path, encoding, newline="") as file:
        if len(file.readline(open_files.BLOCK)) == open_files.BLOCK:
            raise too_long(path, 1)
    usual = "\t" if tab else ","
    sep = options.sep or _detected(path, encoding, usual, tab, options.header)
    literal = tab and sep == "\t"
    _, first = next(rows_of(path, encoding, sep, literal), (1, []))
    if not first:
        expected = "Line 1 must name the columns." if options.header is None else "It needs at least one row."
        raise DataError(f"{path}: the file is empty. {expected}")
    names = _named(first) if options.header is None else list(options.header)
    _check_names(path, names, first, options.header is None)
    given = set(first)
    unnamed = [name for name in names if name not in given] if options.header is None else []
    notes = [f"columns without a name: {', '.join(map(repr, unnamed))[:200]}"] if unnamed else []
    notes += [f"separator: {_shown(sep)} (detected)"] if options.sep is None and sep != usual else []
    notes += [f"encoding: {encoding} (by its byte order mark)"] if encoding != UTF8 and not options.encoding else []
    skip = options.on_bad_lines == "skip"
    return Delimited(path, encoding, sep, literal, names, options.header is None, skip, tuple(notes))


def rows_of(path: Path, encoding: str, sep: str, literal: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows, including the header, each with the line it begins on; `literal`: quotes are ordinary characters."""
    with read_errors(path, encoding), open_text(path, encoding, newline="") as file:
        reader, line = _reader(file, sep, literal), 1
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}, line {line}: {error}. A quote may be unclosed or stray; within a quoted field, it is doubled."
            ) from error


def _reader(text: Iterable[str], sep: str, literal: bool) -> Any:
    if literal:
        return csv.reader(text, delimiter=sep, quoting=csv.QUOTE_NONE)
    return csv.reader(text, delimiter=sep, strict=True)


def _detected(path: Path, encoding: str, usual: str, tab: bool, header: Sequence[str] | None) -> str:
    """The separator by which all of the first rows have the same number of fields, more than one."""
    with read_errors(path, encoding), open_text(path, encoding, newline="") as file:
        text = file.read(SAMPLE_CHARACTERS)
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text if file.read(1) else text
    fits: dict[str, list[str]] = {}
    firsts: dict[str, list[str]] = {}
    for sep in (usual, *(sep for sep in SEPARATORS if sep != usual)):
        rows, is_whole = _sample(text, sep, tab and sep == "\t")
        firsts[sep] = rows[0] if rows else []
        columns = len(firsts[sep]) if header is None else len(header)
        if rows and is_whole and columns > 1 and all(len(row) == columns for row in rows):
            fits[sep] = firsts[sep]
    if len(fits) > 1:
        readings = " or ".join(f"as {len(row)} columns, {row[:3]}..., by {_shown(sep)}" for sep, row in fits.items())
        raise DataError(
            f"{path}: the first rows can be read {readings}. Set the separator: `sep: '{next(iter(fits))}'`."
        )
    if fits:
        return next(iter(fits))
    # No separator fits all rows: the errors of the likeliest one name the row.
    return usual if len(firsts[usual]) > 1 else max(firsts, key=lambda sep: len(firsts[sep]))


def _sample(text: str, sep: str, literal: bool) -> tuple[list[list[str]], bool]:
    """The first rows that are not empty, up to one that cannot be read, and whether there is none such."""
    rows: list[list[str]] = []
    try:
        for row in islice(_reader(io.StringIO(text, newline=""), sep, literal), SAMPLE_ROWS):
            rows += [row] if row else []
    except csv.Error:
        return rows, False
    return rows, True


def _named(header: Sequence[str]) -> list[str]:
    """The names of a header, in which columns without one are called as pandas calls them: spreadsheets export some."""
    return [name if name.strip() else f"Unnamed: {index}" for index, name in enumerate(header)]


def _check_names(path: Path, names: list[str], first: list[str], in_file: bool) -> None:
    where = f"{path}, line 1" if in_file else f"{path}, `header`"
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{where}: {len(names):,} columns, but a table has at most {MOST_COLUMNS:,}. Leave some out.")
    if not in_file and names == first:
        raise DataError(f"{path}: line 1 has the names of `header`. Leave `header` out.")
    if not in_file and len(names) != len(first):
        raise DataError(
            f"{where}: {len(names)} names ({', '.join(names)}), but line 1 has {len(first)} fields. Name each column."
        )
    for name in names:
        if "\0" in name:
            raise DataError(
                f"{where}: a column name has a NUL character. Remove it, or set the encoding of the file, such as "
                "`encoding: utf-16-le`."
            )
        if not name.strip():
            raise DataError(f"{where}: a column has no name (the header is {', '.join(names)[:200]!r}).")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{where}: the column '{twice[0]}' appears twice. Rename one of them.")


def _shown(sep: str) -> str:
    return f"'{sep}'" if sep != "\t" else "tab"

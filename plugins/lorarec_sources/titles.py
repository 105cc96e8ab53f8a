"""Titles of items: split into name and year, and used to join the columns of another table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lorarec.contracts import DataError, did_you_mean, read_table

YEAR = re.compile(r"^(?P<name>.*?)\s*\((?P<year>\d{4})(?:[-\u2013]\d{0,4})?\)\s*(?:\(V\))?$", re.DOTALL)
"""The year at the end; "(V)", for video, may follow it. Of a range, as series have, the first year
counts."""

ARTICLES = "The|A|An|La|Le|Les|L'|Il|Lo|El|Los|Las|Das|Der|Die|Den|Det|Un|Une|Una"
ARTICLE_LAST = re.compile(rf"(?P<before>^|\()(?P<rest>[^()]+?), (?P<article>{ARTICLES})(?=\s*(?:\(|\)|$))")
"""An article after a comma, at the end of the title or of a bracket in it."""


class ParsedTitle(NamedTuple):
    """A title, parsed."""

    name: str
    """Without the year, articles in front: "The Godfather" of "Godfather, The (1972)"."""
    year: int | None
    """None where the title names none."""


def parse_title(title: str) -> ParsedTitle:
    """Name and year of a title as MovieLens writes it: year last, and articles after a comma."""
    title = title.strip()
    match = YEAR.match(title)
    name, year = (match["name"], int(match["year"])) if match else (title, None)
    return ParsedTitle(ARTICLE_LAST.sub(_article_first, name), year)


def with_names(items: pa.Table) -> pa.Table:
    """The items with the columns name and year, read from their column title."""
    parts = [parse_title(title or "") for title in items.column("title").to_pylist()]
    items = items.append_column("name", pa.array([part.name for part in parts], pa.string()))
    return items.append_column("year", pa.array([part.year for part in parts], pa.int64()))


def joined_by_title(items: pa.Table, path: Path) -> pa.Table:
    """The items with the columns of the file `path` that they lack, joined by title: null for a title that the file
    lacks, its first row for a title that it has twice.

    Raises DataError if the file has no column title, or none of the titles.
    """
    other = read_table(path)
    if "title" not in other.column_names:
        hint = did_you_mean("title", other.column_names)
        raise DataError(f"{path}: no column 'title'.{hint} There are: {', '.join(other.column_names)}.")
    rows: dict[str, int] = {}
    for row, title in enumerate(other.data.column("title").to_pylist()):
        rows.setdefault((title or "").strip(), row)
    titles = items.column("title").to_pylist()
    matches = [rows.get((title or "").strip()) for title in titles]
    if all(row is None for row in matches):
        raise DataError(
            f"{path}: none of the items is in its column 'title', such as {titles[0]!r}. Is it the right file?"
        )
    for name in other.column_names:
        if name not in items.column_names:
            values = other.data.column(name).combine_chunks()
            items = items.append_column(name, values.take(pa.array(matches, pa.int64())))
    return items


def _article_first(match: re.Match[str]) -> str:
    space = "" if match["article"].endswith("'") else " "
    return f"{match['before']}{match['article']}{space}{match['rest']}"

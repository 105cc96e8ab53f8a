"""Lists that a table holds as text: `i1|i2`, `i1 i2`, `i1,i2`, `["i1", "i2"]`, `['i1', 'i2']`, `[1 2]`.

One reader for histories of training data and of requests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from lorarec.data.columns import NULLS
from lorarec.data.file_rows import Rows, row_of
from lorarec.data.numbers import plain_column
from lorarec.data.ordering import blocks
from lorarec.errors import DataError

BAR = "|"
SEPARATORS = {BAR: r"\|", ",": ",", ";": ";", " ": r"\s+"}
"""Separators, in the order in which they are tried, as patterns; a blank is any whitespace."""
JOINED = re.compile(r"['\"]\s+['\"]")
"""Two quoted texts without a comma between them."""
POINTED = re.compile(r"[+-]?[0-9]*\.[0-9]*(?:[eE][+-]?[0-9]+)?")
"""A number with a decimal point."""
ROW = 64
"""How many numbers take as much memory as a row of a column of lists written as text."""
QUOTED = r"'([^']*)'|\"([^\"]*)\""


def text_lists(
    column: pa.ChunkedArray, where: str, separator: str | None, rows: Rows | None = None, decimal: str | None = None
) -> pa.ChunkedArray:
    """[n] lists of text: values in brackets are read as JSON, or as Python or NumPy prints a list; others are split by
    the separator (None: they have one element). Empty texts are empty lists, null stays null. Where a `decimal` mark is
    set, numbers in brackets, which have a point, come with it.

    `where` names file and column, `rows` is as in `row_of`. Raises DataError naming the row of a list that cannot be
    read, or that holds something else than texts and numbers.
    """
    texts = pc.utf8_trim_whitespace(plain_column(column).cast(pa.large_string()))
    kind = pa.large_list(pa.large_string())
    if pc.any(pc.starts_with(texts, "[")).as_py():
        lists = [_list(text, where, index, rows, separator, decimal) for index, text in enumerate(texts.to_pylist())]
        return pa.chunked_array([pa.array(lists, kind)])
    if separator is None:
        lists = pc.split_pattern(texts, "\0")  # no text has a NUL
    else:
        lists = pc.split_pattern_regex(texts, rf"\s*{SEPARATORS[separator]}\s*")
    empty = pa.array([[]], kind)[0]
    return pc.if_else(pc.equal(texts, ""), empty, lists.cast(kind))


def separator_of(column: pa.ChunkedArray, ids: Sequence[pa.Array], decimal: str | None = None) -> str | None:
    """The separator of lists written as text: a bar where there is one, else the first of comma, semicolon and blank
    that is in the column, in no id, and not the decimal mark; None where each text is one element."""
    for separator, pattern in SEPARATORS.items():
        used = separator != decimal and any(_is_in(block, pattern) for _, block in text_blocks(column))
        if used and (separator == BAR or not any(pc.any(pc.match_substring_regex(i, pattern)).as_py() for i in ids)):
            return separator
    return None


def feedback_separator(column: pa.ChunkedArray, separator: str | None, decimal: str | None) -> str | None:
    """The separator of numbers written as text: that of the histories, where they have one. A comma that is set as the
    decimal mark separates nothing."""
    return separator_of(column, (), decimal) if separator in (None, decimal) else separator


def text_blocks(column: pa.ChunkedArray) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """A column of long texts, some rows at a time, and the index of the first: temporary arrays and lists of Python
    stay small."""
    return ((block.start, column.slice(block.start, block.stop - block.start)) for block in blocks(len(column), ROW))


def _is_in(column: pa.ChunkedArray, pattern: str) -> bool | None:
    """Whether some text that is not in brackets has the pattern within; None if all are null."""
    texts = pc.utf8_trim_whitespace(plain_column(column).cast(pa.large_string()))
    used: bool | None = pc.any(
        pc.and_(pc.match_substring_regex(texts, pattern), pc.invert(pc.starts_with(texts, "[")))
    ).as_py()
    return used


def _list(
    text: str | None, where: str, index: int, rows: Rows | None, separator: str | None, decimal: str | None
) -> list[str | None] | None:
    if text is None or text == "":
        return None if text is None else []
    if not text.startswith("["):
        return [text] if separator is None else re.split(rf"\s*{SEPARATORS[separator]}\s*", text)
    values = _bracketed(text)
    if values is None or not all(value is None or type(value) in (str, int, float) for value in values):
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise DataError(
            f"{where}, row {row_of(index, rows)}: {shown!r} is not a list of ids or numbers, such as "
            '["i1", "i2"]. Correct the row.'
        )
    bare = not re.search(r"['\"]", text)
    return [
        value if value is None or (isinstance(value, str) and not bare) else _marked(str(value), decimal)
        for value in values
    ]


def _marked(number: str, decimal: str | None) -> str:
    """A number of a list in brackets with a decimal mark for the point; other words as they are."""
    return number.replace(".", decimal) if decimal is not None and POINTED.fullmatch(number) else number


def _bracketed(text: str) -> list[Any] | None:
    """The elements of a list in brackets, as they are written where they have no quotes; None for anything else, such
    as a long list of which NumPy printed the ends."""
    inner = text[1:-1].strip()
    if not text.endswith("]"):
        return None
    if not re.search(r"[\"'\[\]{}]", inner):
        words = re.split(r"\s*,\s*" if "," in inner else r"\s+", inner) if inner else []
        return None if "..." in words else [None if word in NULLS else word for word in words]
    for read in (from_json, ast.literal_eval):
        try:
            values = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(values, list) and not JOINED.search(inner):
            return values
    # NumPy prints texts without commas, and Python joins 'a' 'b' to one.
    words = re.findall(rf"{QUOTED}|([^\s'\"]+)", inner)
    return ["".join(word) for word in words] if re.fullmatch(rf"(?:(?:{QUOTED})\s*)+", inner) else None


def separator_note(where: str, separator: str | None) -> tuple[str, ...]:
    """The note of a separator for the data report; a bar is the documented one."""
    name = {",": "commas", ";": "semicolons", " ": "blanks"}.get(separator or "")
    return () if name is None else (f"{where}: items are separated by {name} (detected)",)

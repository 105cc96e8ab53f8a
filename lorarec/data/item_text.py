"""Item text: a template over the item table's columns, such as "{title} ({genres})"."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lorarec.config.strict import did_you_mean
from lorarec.errors import DataError

TITLE = "title"


class Piece(NamedTuple):
    """Words of a template and the column that follows them, if any."""

    words: str
    column: str | None


def parse_template(template: str, available: Sequence[str], origin: str) -> list[Piece]:
    """The pieces of a template. Raises DataError for an unknown column, none at all, or a format
    specification."""
    place = f"data.item_text '{template}'"
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise DataError(f"{place}: {error}. Write columns as {{name}}, braces of your own as {{{{ and }}}}.") from None
    pieces = []
    for words, column, format_spec, conversion in parsed:
        if column is not None and column not in available:
            raise DataError(
                f"{place}: the item table of {origin} has no column '{column}'."
                f"{did_you_mean(column, available)} Columns: {', '.join(available)}."
            )
        if format_spec or conversion:
            raise DataError(f"{place}: '{column}' must be a plain column name, without a conversion or a format.")
        pieces.append(Piece(words, column))
    if not any(piece.column for piece in pieces):
        raise DataError(f"{place} names no column, so all items would read alike. Columns: {', '.join(available)}.")
    return pieces


def default_template(table: pa.Table, id_column: str) -> list[Piece]:
    """The title where there is one, else the first column of text, else the id."""
    names = [field.name for field in table.schema if _is_text(field.type) and field.name != id_column]
    name = TITLE if TITLE in table.column_names else next(iter(names), id_column)
    return [Piece("", name)]


def render(table: pa.Table, pieces: Sequence[Piece]) -> list[str]:
    """[n] the text of each row; lists are joined by commas. Empty where all its columns are."""
    values = _values(table, pieces)
    texts = []
    for row in range(table.num_rows):
        if any(column[row] for column in values.values()):
            filled = [p.words + (values[p.column][row] if p.column is not None else "") for p in pieces]
            texts.append("".join(filled).strip())
        else:
            texts.append("")
    return texts


def gaps(table: pa.Table, pieces: Sequence[Piece]) -> tuple[int, dict[str, int]]:
    """How many rows have nothing in all columns, and for each column, how many have nothing there alone."""
    values = _values(table, pieces)
    blank = {name: np.array([not value for value in column], bool) for name, column in values.items()}
    empty = np.logical_and.reduce(list(blank.values()))
    return int(empty.sum()), {name: int((b & ~empty).sum()) for name, b in blank.items() if (b & ~empty).any()}


def _values(table: pa.Table, pieces: Sequence[Piece]) -> dict[str, list[str]]:
    """What stands in each column of a template, as words."""
    names = dict.fromkeys(piece.column for piece in pieces if piece.column is not None)
    return {name: [written(value) for value in table.column(name).to_pylist()] for name in names}


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def written(value: Any) -> str:
    """A value of a table as words: lists joined by commas, nothing for nothing (NaN, which stands for it in columns of
    floats, among them)."""
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return ", ".join(written(element) for element in value if element is not None)
    return str(value).strip()

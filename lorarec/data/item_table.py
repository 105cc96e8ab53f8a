"""The item table: the columns that the catalog keeps, and the text that a template writes of them.

A template names columns in braces, such as "{title} ({genres})".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from lorarec.config.strict import did_you_mean
from lorarec.data.columns import ITEM, is_list, missing_column
from lorarec.data.file_rows import Rows
from lorarec.data.html_text import has_html, without_html
from lorarec.data.ids import Encoded, encode_distinct
from lorarec.errors import DataError, counted

Kind = Literal["number", "text", "words", "other", "empty"]
"""What a column holds: numbers; text, or the name of a category; lists of words; other values, which only templates use
(dates, true and false); nothing in any row. A further kind, such as images, is one more name here and in `kind_of`."""
COLUMN = "column_"
"""Prefix of the catalog's columns that come from the item table."""
TITLE = "title"


class Piece(NamedTuple):
    """Literal text of a template and the column that follows it, if any."""

    words: str
    column: str | None


class Declared(NamedTuple):
    """The columns of the item table that the catalog keeps: those of item_text, the head and the titles."""

    id_column: str
    pieces: Sequence[Piece]
    """The template of the items' text, over `kinds`."""
    kinds: Mapping[str, Kind]
    """Column of the item table -> what it holds."""
    html: Literal["keep", "strip"] = "keep"
    """Whether tags and entities of HTML are removed from texts; new items are read in the same way."""


def id_column_of(available: Sequence[str], name: str, kind: str, origin: str) -> str:
    """The column of ids of an item or user table, by its `kind`: of the name in the interactions, or lorarec's own."""
    for candidate in (name, kind):
        if candidate in available:
            return candidate
    what = f", which should hold the {kind}'s id; say which one it is: data.{kind}_id=NAME"
    raise missing_column(name, available, f"{kind} table of {origin}", what)


def listed_ids(table: pa.Table | None, id_column: str, origin: str, rows: Rows | None = None) -> Encoded:
    """The item table's ids, each of which may occur once; `rows` is as in `row_of`."""
    if table is None:
        return Encoded(np.empty(0, np.int64), pa.array([], pa.string()))
    return encode_distinct(table.column(id_column), f"item table of {origin}, column '{id_column}'", "item", rows)


def declare(table: pa.Table, id_column: str, template: str | None, more: Sequence[str], origin: str) -> Declared:
    """The columns of an item table that the template and `more` (the head's) name, and its titles.

    Raises DataError naming a missing column, with the most similar one.
    """
    if template is None:
        pieces = default_template(table, id_column)
    else:
        pieces = parse_template(template, table.column_names, origin)
    names = [piece.column for piece in pieces if piece.column is not None]
    for name in more:
        if name not in table.column_names:
            what = ", by which the head compares items"
            raise missing_column(name, table.column_names, f"item table of {origin}", what)
    titles = [TITLE] if TITLE in table.column_names else []
    kinds = {name: kind_of(table.schema.field(name).type) for name in dict.fromkeys([*names, *more, *titles])}
    return Declared(id_column, pieces, kinds)


def kind_of(kind: pa.DataType) -> Kind:
    """What a column of this Arrow type holds."""
    if pa.types.is_null(kind):
        return "empty"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "words" if is_list(kind) and kind_of(kind.value_type) == "text" else "other"


def parse_template(template: str, available: Sequence[str], origin: str) -> list[Piece]:
    """The pieces of a template. Raises DataError for an unknown column, no column, or a format specification."""
    where = f"data.item_text '{template}'"
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise DataError(f"{where}: {error}. Write columns as {{name}}, literal braces as {{{{ and }}}}.") from None
    pieces = []
    for words, column, format_spec, conversion in parsed:
        if column is not None and column not in available:
            raise DataError(
                f"{where}: the item table of {origin} has no column '{column}'."
                f"{did_you_mean(column, available)} Columns: {', '.join(available)}."
            )
        if format_spec or conversion:
            raise DataError(f"{where}: '{column}' must be a plain column name, without a conversion or a format.")
        pieces.append(Piece(words, column))
    if not any(piece.column for piece in pieces):
        raise DataError(
            f"{where} names no column, so all items would have the same text. Columns: {', '.join(available)}."
        )
    return pieces


def default_template(table: pa.Table, id_column: str) -> list[Piece]:
    """The title where there is one, else the first column of text, else the id."""
    names = [field.name for field in table.schema if kind_of(field.type) == "text" and field.name != id_column]
    name = TITLE if TITLE in table.column_names else next(iter(names), id_column)
    return [Piece("", name)]


def text_note(declared: Declared, origin: str) -> tuple[str, ...]:
    """Which column the default template reads, where there is no title."""
    (name,) = (piece.column for piece in declared.pieces)
    if name == TITLE:
        return ()
    first = "their id" if name == declared.id_column else f"the column '{name}', the first one of text"
    return (f"{origin}: no column 'title': the texts and titles of items are {first}; data.item_text names others",)


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
    """The number of rows with no value in any column, and by column, of other rows with no value there."""
    values = _values(table, pieces)
    blank = {name: np.array([not value for value in column], bool) for name, column in values.items()}
    empty = np.logical_and.reduce(list(blank.values()))
    return int(empty.sum()), {name: int((b & ~empty).sum()) for name, b in blank.items() if (b & ~empty).any()}


def as_words(value: Any) -> str:
    """A value of a table as text: lists joined by commas; empty for a missing value (also NaN, which stands for it in
    columns of floats)."""
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return ", ".join(as_words(element) for element in value if element is not None)
    return str(value).strip()


def plain_texts(table: pa.Table, declared: Declared) -> pa.Table:
    """The table whose declared texts have no HTML, if `declared` says so."""
    for name in _texts(table, declared) if declared.html == "strip" else ():
        table = table.set_column(table.column_names.index(name), name, without_html(table.column(name)))
    return table


def html_note(table: pa.Table, declared: Declared, origin: str) -> tuple[str, ...]:
    """How many items have HTML in their declared texts, with an example and what is done with it."""
    rows = np.zeros(table.num_rows, bool)
    example: Any = None
    for name in _texts(table, declared):
        found = has_html(table.column(name))
        if found.any() and not rows.any():
            example = as_words(table.column(name)[int(np.argmax(found))].as_py())
        rows |= found
    if not rows.any():
        return ()
    shown = repr(example if len(example) <= 80 else f"{example[:77]}...")
    if declared.html == "strip":
        what = "tags are removed and entities decoded (data.item_text_html=strip)"
    else:
        what = "it is read as it is; data.item_text_html=strip removes tags and decodes entities"
    have = counted(int(rows.sum()), "items have")
    return (f"{origin}: {have} HTML in the text, such as {shown}: {what}",)


def _texts(table: pa.Table, declared: Declared) -> list[str]:
    """The declared columns of text and of lists of text, without the ids."""
    kinds = {name: kind_of(table.schema.field(name).type) for name in declared.kinds if name in table.column_names}
    return [name for name, kind in kinds.items() if kind in ("text", "words") and name != declared.id_column]


def item_rows(ids: pa.Array, table: pa.Table | None, declared: Declared | None, origin: str) -> pa.Table:
    """Rows of a catalog: one for each id; `table` describes the first ones, in its order.

    An item that the table lacks, or whose text comes out empty, is read as its id. Raises DataError naming a declared
    column that the table lacks.
    """
    names: list[str] = ids.to_pylist()
    if table is None or declared is None:
        return pa.table({ITEM: ids, "title": names, "text": names})
    for name in declared.kinds:
        if name not in table.column_names:
            what = ", which the items of the catalog have"
            raise missing_column(name, table.column_names, origin, what)
    texts = render(table, declared.pieces)
    titles = render(table, [Piece("", TITLE)]) if TITLE in declared.kinds else texts
    rest = names[len(texts) :]
    made = {
        ITEM: ids,
        "title": [title or name for title, name in zip(titles, names, strict=False)] + rest,
        "text": [text or name for text, name in zip(texts, names, strict=False)] + rest,
    }
    for name in declared.kinds:
        column = table.column(name)
        unknown = pa.nulls(len(rest), column.type)
        made[COLUMN + name] = pa.chunked_array([*column.chunks, unknown], column.type)
    return pa.table(made)


def _values(table: pa.Table, pieces: Sequence[Piece]) -> dict[str, list[str]]:
    """The values of each column of a template, as text."""
    names = dict.fromkeys(piece.column for piece in pieces if piece.column is not None)
    return {name: [as_words(value) for value in table.column(name).to_pylist()] for name in names}

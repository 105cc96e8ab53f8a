"""Catalog: item id <-> row <-> text, and the declared columns of items. It only grows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from lorarec.config.strict import did_you_mean
from lorarec.data.columns import ITEM, missing_column
from lorarec.data.ids import Encoded, encode_ids
from lorarec.data.item_text import TITLE, Piece, default_template, parse_template, render
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

Kind = Literal["number", "text", "words", "other", "empty"]
"""What a column holds: numbers; text, or the name of a category; lists of words; what only a template writes (dates,
true and false); nothing in any row. Each further kind, such as pictures, is one more name here and in `kind_of`."""
COLUMN = "column_"
"""Begins the names of the catalog's columns that are the item table's own."""
METADATA = b"lorarec_catalog"


class Declared(NamedTuple):
    """What of the item table belongs to the items: the columns that item_text, the head or the titles are made of."""

    id_column: str
    pieces: Sequence[Piece]
    """The template of the items' text, over `kinds`."""
    kinds: Mapping[str, Kind]
    """Column of the item table -> what it holds."""


class Catalog:
    """N items. Row n of `table` has the columns `item` (original id, string), `title` and `text`, and `column_NAME` for
    each declared column (null where the item table lacks the item), on disk (Arrow).

    `declared` is None where there is no item table, or a run was written before catalogs kept their columns.
    """

    def __init__(self, table: Dataset, declared: Declared | None = None) -> None:
        self.table = table
        self.declared = declared

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> list[str]:
        """[N] original ids, as strings."""
        return list(self.table.data.column("item").to_pylist())

    @cached_property
    def rows(self) -> dict[str, int]:
        """Original id -> row."""
        return {item: row for row, item in enumerate(self.ids)}

    def texts(self, rows: Iterable[int] | None = None) -> list[str]:
        """What an encoder reads of these rows (all by default)."""
        return self._strings("text", rows)

    def titles(self, rows: Iterable[int] | None = None) -> list[str]:
        """What a person reads of these rows (all by default)."""
        return self._strings("title", rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """[N] a declared column; null where nothing is known. Raises DataError naming those there are."""
        kinds = {} if self.declared is None else self.declared.kinds
        if name not in kinds:
            listed = ", ".join(kinds) or "none"
            raise DataError(f"The catalog keeps no column '{name}'.{did_you_mean(name, kinds)} It keeps: {listed}.")
        return self.table.data.column(COLUMN + name)

    def extend(
        self, items: Dataset, *, origin: str = "the new items", known: Literal["refuse", "keep"] = "refuse"
    ) -> Catalog:
        """A longer catalog: old rows keep row, id, text and columns; each new id gets the next row, its text written by
        the same template. `known` says what becomes of an id that is there already: refused, or kept as it was.

        `items` has the item table's own column names; it may have more columns. Raises DataError naming `origin` and
        the id that is there already or twice, the column that is missing, or the one that holds something else now.
        """
        if self.declared is None:
            raise DataError(
                f"{origin}: this catalog keeps no columns of its items (there was no item table, or the run was "
                "written before catalogs kept them), so new items could not be read like the old ones. Train again, "
                "with an item table."
            )
        raw: pa.Table = items.with_format("arrow")[:]
        id_column = id_column_of(raw, self.declared.id_column, origin)
        listed = listed_ids(raw, id_column, origin)
        old = np.array([item in self.rows for item in listed.ids.to_pylist()], bool)
        if old.any() and known == "refuse":
            raise DataError(
                f"{origin}, row {int(old.argmax()) + 1}: item '{listed.ids[int(old.argmax())].as_py()}' is in the "
                f"catalog already ({int(old.sum()):,} such items). Leave it out, or keep the old row: known='keep'."
            )
        before = self._arrow()
        fresh = _as_before(raw.filter(pa.array(~old)), before, self.declared)
        table = item_rows(listed.ids.filter(pa.array(~old)), fresh, self.declared, origin)
        joined = _joined(before, table, self.declared, origin)
        kinds = {name: kind_of(joined.schema.field(COLUMN + name).type) for name in self.declared.kinds}
        return Catalog(_dataset(joined), self.declared._replace(kinds=kinds))

    def arrow(self) -> pa.Table:
        """The table with what is declared, as a run folder keeps it."""
        table = self._arrow().replace_schema_metadata(None)
        if self.declared is None:
            return table
        return table.replace_schema_metadata({METADATA: json.dumps(self.declared._asdict())})

    @classmethod
    def of_arrow(cls, table: pa.Table) -> Catalog:
        """What `arrow` gave; other columns are left out."""
        declared = json.loads((table.schema.metadata or {}).get(METADATA, b"null"))
        names = [*("item", "title", "text"), *(name for name in table.column_names if name.startswith(COLUMN))]
        kept = _dataset(table.select(names).replace_schema_metadata(None))
        if declared is None:
            return cls(kept)
        pieces = [Piece(*piece) for piece in declared["pieces"]]
        return cls(kept, Declared(declared["id_column"], pieces, declared["kinds"]))

    def _arrow(self) -> pa.Table:
        table: pa.Table = self.table.with_format("arrow")[:]
        return table

    def _strings(self, column: str, rows: Iterable[int] | None) -> list[str]:
        data = self.table.data.column(column)
        if rows is not None:
            data = data.take(np.fromiter(rows, np.int64))
        return list(data.to_pylist())


def declare(table: pa.Table, id_column: str, template: str | None, more: Sequence[str], origin: str) -> Declared:
    """The columns of an item table that the template and `more` (the head's) name, and its titles.

    Raises DataError naming a column that is not there, with the nearest one.
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
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return "words" if is_list and kind_of(kind.value_type) == "text" else "other"


def item_rows(ids: pa.Array, table: pa.Table | None, declared: Declared | None, origin: str) -> pa.Table:
    """Rows of a catalog: one an id, of which `table` describes the first ones, in its order.

    An item that the table lacks, or whose text comes out empty, is read as its id. Raises DataError naming a declared
    column that the table lacks.
    """
    names: list[str] = ids.to_pylist()
    if table is None or declared is None:
        return pa.table({ITEM: ids, "title": names, "text": names})
    for name in declared.kinds:
        if name not in table.column_names:
            what = ", which the items that are there already have"
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


def id_column_of(table: pa.Table, name: str, origin: str) -> str:
    """The item table's id: under the name it has elsewhere, or under lorarec's own."""
    for candidate in (name, ITEM):
        if candidate in table.column_names:
            return candidate
    raise missing_column(name, table.column_names, f"item table of {origin}", ", which should hold the item's id")


def listed_ids(table: pa.Table | None, id_column: str, origin: str) -> Encoded:
    """The item table's ids, each of which may occur once."""
    if table is None:
        return Encoded(np.empty(0, np.int64), pa.array([], pa.string()))
    place = f"item table of {origin}, column '{id_column}'"
    listed = encode_ids(table.column(id_column), place)
    if len(listed.ids) < len(listed.codes):
        first = np.unique(listed.codes, return_index=True)[1]
        row = int(np.setdiff1d(np.arange(len(listed.codes)), first)[0])
        item = listed.ids[int(listed.codes[row])].as_py()
        raise DataError(
            f"{place}, row {row + 1}: item '{item}' is listed again (first in row "
            f"{first[listed.codes[row]] + 1}). Keep one row an item."
        )
    return listed


def _as_before(new: pa.Table, old: pa.Table, declared: Declared) -> pa.Table:
    """New items with values of the types that the old ones have, where nothing is lost by it, so that the template
    writes both the same way: a file with gaps has 1999.0 where another has 1999, and one title alone may be a number.
    """
    for name, kind in declared.kinds.items():
        if name not in new.column_names or kind == "empty":
            continue
        column, wanted = new.column(name), old.schema.field(COLUMN + name).type
        whole = pa.types.is_integer(column.type)
        if kind_of(column.type) in (kind, "other") or (kind == "text" and whole):
            with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                new = new.set_column(new.column_names.index(name), name, column.cast(wanted))
    return new


def _joined(old: pa.Table, new: pa.Table, declared: Declared, origin: str) -> pa.Table:
    for name, known in declared.kinds.items():
        kind = kind_of(new.schema.field(COLUMN + name).type)
        if kind != known and "empty" not in (kind, known):
            raise DataError(
                f"{origin}, column '{name}': {kind} here, but {known} in the catalog. Give it in the same form."
            )
    try:
        return pa.concat_tables([old, new], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"{origin}: not of the form of the catalog's items: {error}. Give it in the same form."
        ) from error


def _dataset(table: pa.Table) -> Dataset:
    from datasets import Dataset

    return Dataset(table)

"""Catalog: item id <-> row <-> text, and the declared columns of items, also as feature vectors. It only grows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from lorarec.config.strict import did_you_mean
from lorarec.data.columns import ITEM, is_list
from lorarec.data.item_table import COLUMN, Declared, Piece, id_column_of, item_rows, kind_of, listed_ids, plain_texts
from lorarec.data.spellings import plain_id
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

METADATA = b"lorarec_catalog"
WORDS = 256
"""Maximum number of distinct words of a column: more are likely names, which belong in the text."""
REACH = 4.0
"""Numbers are clipped to this many standard deviations from the mean: an outlier would stretch the grid."""


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

    @cached_property
    def spellings(self) -> dict[str, str]:
        """An id without what two spellings of one may differ in (`plain_id`) -> the id."""
        return {plain_id(item): item for item in self.ids}

    def texts(self, rows: Iterable[int] | None = None) -> list[str]:
        """The text of these rows (all by default), for encoders."""
        return self._strings("text", rows)

    def titles(self, rows: Iterable[int] | None = None) -> list[str]:
        """The title of these rows (all by default), for people."""
        return self._strings("title", rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """[N] a declared column; null where the value is unknown. Raises DataError naming the declared ones."""
        kinds = {} if self.declared is None else self.declared.kinds
        if name not in kinds:
            listed = ", ".join(kinds) or "none"
            raise DataError(f"The catalog keeps no column '{name}'.{did_you_mean(name, kinds)} It keeps: {listed}.")
        return self.table.data.column(COLUMN + name)

    def extend(
        self, items: Dataset, *, origin: str = "the new items", known: Literal["refuse", "keep"] = "refuse"
    ) -> Catalog:
        """A longer catalog: old rows keep row, id, text and columns; each new id gets the next row, its text written by
        the same template. `known` sets whether an id that is in the catalog is refused, or its row kept as it was.

        `items` has the item table's own column names; it may have more columns. Raises DataError naming `origin` and
        the id that is in the catalog or listed twice, the column that is missing, or the one of another type.
        """
        if self.declared is None:
            raise DataError(
                f"{origin}: this catalog keeps no columns of its items (there was no item table, or the run was "
                "written before catalogs kept them), so new items could not be read like the old ones. Train again "
                "with an item table."
            )
        raw: pa.Table = items.with_format("arrow")[:]
        id_column = id_column_of(raw.column_names, self.declared.id_column, ITEM, origin)
        listed = listed_ids(raw, id_column, origin)
        old = np.array([item in self.rows for item in listed.ids.to_pylist()], bool)
        if old.any() and known == "refuse":
            raise DataError(
                f"{origin}, row {int(old.argmax()) + 1}: item '{listed.ids[int(old.argmax())].as_py()}' is in the "
                f"catalog already ({int(old.sum()):,} such items). Leave it out, or keep the old row: known='keep'."
            )
        before = self._arrow()
        new = plain_texts(raw.filter(pa.array(~old)), self.declared)
        new = _with_old_types(new, before, self.declared)
        table = item_rows(listed.ids.filter(pa.array(~old)), new, self.declared, origin)
        joined = _joined(before, table, self.declared, origin)
        kinds = {name: kind_of(joined.schema.field(COLUMN + name).type) for name in self.declared.kinds}
        return Catalog(_dataset(joined), self.declared._replace(kinds=kinds))

    def arrow(self) -> pa.Table:
        """The table with its declaration as metadata, as a run folder keeps it."""
        table = self._arrow().replace_schema_metadata(None)
        if self.declared is None:
            return table
        return table.replace_schema_metadata({METADATA: json.dumps(self.declared._asdict())})

    @classmethod
    def of_arrow(cls, table: pa.Table) -> Catalog:
        """The catalog of a table from `arrow`; other columns are left out."""
        declared = json.loads((table.schema.metadata or {}).get(METADATA, b"null"))
        names = [*("item", "title", "text"), *(name for name in table.column_names if name.startswith(COLUMN))]
        kept = _dataset(table.select(names).replace_schema_metadata(None))
        if declared is None:
            return cls(kept)
        pieces = [Piece(*piece) for piece in declared["pieces"]]
        return cls(kept, Declared(declared["id_column"], pieces, declared["kinds"], declared.get("html", "keep")))

    def _arrow(self) -> pa.Table:
        table: pa.Table = self.table.with_format("arrow")[:]
        return table

    def _strings(self, column: str, rows: Iterable[int] | None) -> list[str]:
        data = self.table.data.column(column)
        if rows is not None:
            data = data.take(np.fromiter(rows, np.int64))
        return list(data.to_pylist())


def _with_old_types(new: pa.Table, old: pa.Table, declared: Declared) -> pa.Table:
    """New items cast to the types of the old ones, where that is lossless, so that the template writes both the same
    way: a file with gaps has 1999.0 where another has 1999, and all titles of a file may be numbers.
    """
    for name, kind in declared.kinds.items():
        if name not in new.column_names or kind == "empty":
            continue
        column, old_type = new.column(name), old.schema.field(COLUMN + name).type
        whole = pa.types.is_integer(column.type)
        if kind_of(column.type) in (kind, "other") or (kind == "text" and whole):
            # A column that cannot be cast keeps its own type, which the caller refuses by name.
            with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                new = new.set_column(new.column_names.index(name), name, column.cast(old_type))
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


def item_features(catalog: Catalog, columns: Sequence[str], origin: str) -> dict[str, np.ndarray]:
    """[N, F] float32 for each declared column: unit vectors, one per item; 0 where the value is unknown.

    Numbers: the dot product falls from 1 like a Gaussian as wide as half the column's standard deviation. Words and
    lists of words: the cosine of the sets. Raises DataError naming a column that is missing or of another kind.
    """
    return {
        name: _features(catalog.column(name), f"item table of {origin}, column '{name}'").astype(np.float32)
        for name in columns
    }


def _features(column: pa.ChunkedArray, where: str) -> np.ndarray:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _number_features(column.cast(pa.float64()).to_numpy(), where)
    inner = kind.value_type if is_list(kind) else kind
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
        raise DataError(f"{where}: items are compared by numbers, words and lists of words, not by {kind}.")
    values = column.to_pylist()
    return _word_features(values if is_list(kind) else [None if value is None else [value] for value in values], where)


def _number_features(values: np.ndarray, where: str) -> np.ndarray:
    """Gaussian basis functions on a grid: their dot product is a Gaussian of the distance of two numbers."""
    known = np.isfinite(values)
    spread = values[known].std() if known.any() else 0.0
    if spread == 0.0:
        raise DataError(f"{where}: all items have the same number, or none, so it cannot compare them.")
    width, mean = spread / 2, values[known].mean()
    near = np.clip(np.where(known, values, mean), mean - REACH * spread, mean + REACH * spread)
    grid = np.arange(near.min() - width, near.max() + 2 * width, width)
    return _unit(np.exp(-(((near[:, None] - grid) / width) ** 2)) * known[:, None])


def _word_features(values: Sequence[list[Any] | None], where: str) -> np.ndarray:
    words = sorted({word for row in values for word in row or () if word})
    if not 2 <= len(words) <= WORDS:
        raise DataError(
            f"{where}: {len(words)} distinct words; from 2 to {WORDS} can be compared. Put a column of names into "
            "data.item_text instead."
        )
    index = {word: number for number, word in enumerate(words)}
    features = np.zeros((len(values), len(words)))
    for row, item_words in enumerate(values):
        features[row, [index[word] for word in item_words or () if word]] = 1.0
    return _unit(features)


def _unit(features: np.ndarray) -> np.ndarray:
    unit: np.ndarray = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return unit

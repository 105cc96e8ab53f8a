"""Numbering: a source's tables as checked Arrow tables of numbers, and the catalogue they point into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import Dataset

from lorarec.data.catalog import Catalog
from lorarec.data.columns import (
    CLICK,
    HISTORY,
    HISTORY_FEEDBACK,
    ITEM,
    RATING,
    SPLIT,
    TIME,
    USER,
    WEIGHT,
    missing_column,
    resolve_columns,
)
from lorarec.data.ids import Encoded, encode_ids, merge_ids
from lorarec.data.item_text import TITLE, Piece, default_template, parse_template, render
from lorarec.data.lists import feedback_lists, item_lists, read_lists
from lorarec.data.numeric import numbers, seconds, weights
from lorarec.errors import DataError


@dataclass(frozen=True)
class NumberedTables:
    """What `Interactions` needs besides the split."""

    table: Dataset
    """As in `Interactions.table`, and the raw columns that were asked to be kept."""
    user_ids: list[str]
    """[U] original ids; "row-1", "row-2", ... where the data names no users (each row is then a user of its
    own)."""
    catalog: Catalog
    items_without_text: int
    """Items that only occur in interactions or histories: their text and title are their id."""
    empty_texts: int
    """Items of the item table whose text came out empty: it is their id instead."""


def number(
    interactions: Dataset,
    items: Dataset | None,
    columns: Mapping[str, str],
    item_text: str | None,
    origin: str,
    keep: Sequence[str] = (),
    items_origin: str = "",
) -> NumberedTables:
    """Check and number a source's tables.

    `columns` maps lorarec's names to the source's, `item_text` is the template of an item's text, `origin` names the
    files for messages (`items_origin` the item table's, if it is another), `keep` names raw columns the splitter
    wants. Users are numbered by first appearance; items in the order of the item table, then as they first appear.

    Raises DataError naming file, row and column of what cannot be used.
    """
    raw, items_origin = as_arrow(interactions), items_origin or origin
    if not raw.num_rows:
        raise DataError(f"{origin}: no rows. Give a file with at least one interaction.")
    found = resolve_columns(raw.column_names, columns, origin)
    made: dict[str, pa.Array] = {}

    def place(name: str) -> str:
        return f"{origin}, column '{found[name]}'"

    user_ids = _number_users(raw, found, place(USER) if USER in found else "", made)
    lists = read_lists(raw.column(found[HISTORY]), place(HISTORY)) if HISTORY in found else None
    sources = [encode_ids(raw.column(found[ITEM]), place(ITEM))]
    if lists is not None:
        sources.append(item_lists(lists, place(HISTORY)))
    item_table = None if items is None else as_arrow(items)
    id_column = "" if item_table is None else _id_column(item_table, columns, items_origin)
    listed = _listed_ids(item_table, id_column, items_origin)
    codes, ids = merge_ids([listed, *sources])
    if len(ids) < 2:
        raise DataError(f"{origin}: the catalogue has one item ({ids[0].as_py()!r}), so there is nothing to choose.")
    made[ITEM] = pa.array(codes[1])
    for name, read in ((TIME, seconds), (RATING, numbers), (CLICK, numbers), (WEIGHT, weights)):
        if name in found:
            made[name] = pa.array(read(raw.column(found[name]), place(name)))
    if lists is not None:
        made[HISTORY] = pa.LargeListArray.from_arrays(lists.offsets, pa.array(codes[2]))
        if HISTORY_FEEDBACK in found:
            made[HISTORY_FEEDBACK] = feedback_lists(raw.column(found[HISTORY_FEEDBACK]), lists, place(HISTORY_FEEDBACK))
    _keep(raw, found, keep, made, origin)
    texts, titles, empty = _texts(item_table, id_column, item_text, ids, items_origin)
    catalog = Catalog(Dataset(pa.table({ITEM: ids, TITLE: titles, "text": texts})))
    return NumberedTables(Dataset(pa.table(made)), user_ids, catalog, len(ids) - len(listed.ids), empty)


def as_arrow(dataset: Dataset) -> pa.Table:
    """A Dataset as the Arrow table it stands for: selected and shuffled rows as the Dataset has them; no copy
    if none."""
    table: pa.Table = dataset.with_format("arrow")[:]
    return table


def _keep(raw: pa.Table, found: Mapping[str, str], keep: Sequence[str], made: dict[str, pa.Array], origin: str) -> None:
    """What the splitter wants, as it came."""
    if SPLIT in found:
        made[SPLIT] = raw.column(found[SPLIT])
    for name in keep:
        if name not in made:
            if name not in raw.column_names:
                raise missing_column(name, raw.column_names, origin, ", which data.split names")
            made[name] = raw.column(name)


def _number_users(raw: pa.Table, found: Mapping[str, str], place: str, made: dict[str, pa.Array]) -> list[str]:
    if USER not in found:
        made[USER] = pa.array(np.arange(raw.num_rows))
        return [f"row-{row}" for row in range(1, raw.num_rows + 1)]
    users = encode_ids(raw.column(found[USER]), place)
    made[USER] = pa.array(users.codes)
    ids: list[str] = users.ids.to_pylist()
    return ids


def _id_column(table: pa.Table, columns: Mapping[str, str], origin: str) -> str:
    """The item table's id: under the name it has in the interactions, or under lorarec's own."""
    for name in (columns.get(ITEM, ITEM), ITEM):
        if name in table.column_names:
            return name
    name = columns.get(ITEM, ITEM)
    raise missing_column(name, table.column_names, f"item table of {origin}", ", which should hold the item's id")


def _listed_ids(table: pa.Table | None, id_column: str, origin: str) -> Encoded:
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


def _texts(
    table: pa.Table | None, id_column: str, template: str | None, ids: pa.Array, origin: str
) -> tuple[list[str], list[str], int]:
    """Texts and titles of all items, the id standing in where there is none; and how many texts came out
    empty."""
    names: list[str] = ids.to_pylist()
    if table is None:
        if template is not None:
            raise DataError(
                f"data.item_text '{template}': {origin} comes without an item table, so there is nothing "
                "to fill it with. Give the source an item table, or leave item_text out: items are then "
                "read as their ids."
            )
        return names, names, 0
    if template is None:
        pieces = default_template(table, id_column)
    else:
        pieces = parse_template(template, table.column_names, origin)
    texts = render(table, pieces)
    titles = render(table, [Piece("", TITLE)]) if TITLE in table.column_names else texts
    empty = sum(not text for text in texts)
    rest = names[len(texts) :]
    texts = [text or name for text, name in zip(texts, names, strict=False)] + rest
    titles = [title or name for title, name in zip(titles, names, strict=False)] + rest
    return texts, titles, empty

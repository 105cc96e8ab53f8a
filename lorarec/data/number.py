"""Numbering: a source's tables as checked Arrow tables of numbers, and the catalogue they point into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset

from lorarec.data.catalog import Catalog, Declared, declare, id_column_of, item_rows, listed_ids
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
    Lists,
    feedback_lists,
    item_lists,
    missing_column,
    numbers,
    read_lists,
    resolve_columns,
    seconds,
    weights,
)
from lorarec.data.ids import Encoded, encode_ids, merge_ids
from lorarec.data.item_text import gaps
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
    blanks: Mapping[str, int]
    """For each column of the text's template, items of the item table that have nothing there, but something in
    another one: their text has a gap."""


def number(
    interactions: Dataset,
    items: Dataset | None,
    columns: Mapping[str, str],
    item_text: str | None,
    origin: str,
    keep: Sequence[str] = (),
    items_origin: str = "",
    item_columns: Sequence[str] = (),
    unlisted: Literal["some", "all"] = "some",
) -> NumberedTables:
    """Check and number a source's tables.

    `columns` maps lorarec's names to the source's, `item_text` is the template of an item's text, `origin` names the
    files for messages (`items_origin` the item table's, if it is another), `keep` names raw columns the splitter wants,
    `item_columns` those of the item table by which the head compares items; `unlisted` says whether the item table may
    lack all items of the interactions. Users are numbered by first appearance; items in the order of the item table,
    then as they first appear.

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
    declared = None if item_table is None else _declared(item_table, columns, item_text, item_columns, items_origin)
    listed = listed_ids(item_table, "" if declared is None else declared.id_column, items_origin)
    codes, ids = merge_ids([listed, *sources])
    if len(ids) < 2:
        raise DataError(f"{origin}: the catalog has one item ({ids[0].as_py()!r}), so there is nothing to choose.")
    if declared is None:
        _refuse_columns_of_nothing(item_text, item_columns, origin)
    elif unlisted == "some":
        _refuse_other_items(listed, sources, origin, items_origin)
    made |= {ITEM: pa.array(codes[1])} | _numbers(raw, found, place)
    if lists is not None:
        made |= _histories(raw, found, lists, codes[2], place)
    _keep(raw, found, keep, made, origin)
    catalog = Catalog(Dataset(item_rows(ids, item_table, declared, items_origin)), declared)
    empty, blanks = (0, {}) if declared is None else gaps(item_table, declared.pieces)
    return NumberedTables(Dataset(pa.table(made)), user_ids, catalog, len(ids) - len(listed.ids), empty, blanks)


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


def _numbers(raw: pa.Table, found: Mapping[str, str], place: Callable[[str], str]) -> dict[str, pa.Array]:
    """The columns of numbers that are there, checked."""
    readers = {TIME: seconds, RATING: numbers, CLICK: numbers, WEIGHT: weights}
    return {n: pa.array(read(raw.column(found[n]), place(n))) for n, read in readers.items() if n in found}


def _histories(
    raw: pa.Table, found: Mapping[str, str], lists: Lists, items: np.ndarray, place: Callable[[str], str]
) -> dict[str, pa.Array]:
    """The histories that rows bring, of numbered items, and what stands beside them."""
    made = {HISTORY: pa.LargeListArray.from_arrays(lists.offsets, pa.array(items))}
    if HISTORY_FEEDBACK in found:
        made[HISTORY_FEEDBACK] = feedback_lists(raw.column(found[HISTORY_FEEDBACK]), lists, place(HISTORY_FEEDBACK))
    return made


def _number_users(raw: pa.Table, found: Mapping[str, str], place: str, made: dict[str, pa.Array]) -> list[str]:
    if USER not in found:
        made[USER] = pa.array(np.arange(raw.num_rows))
        return [f"row-{row}" for row in range(1, raw.num_rows + 1)]
    users = encode_ids(raw.column(found[USER]), place)
    made[USER] = pa.array(users.codes)
    ids: list[str] = users.ids.to_pylist()
    return ids


def _declared(
    table: pa.Table, columns: Mapping[str, str], template: str | None, item_columns: Sequence[str], origin: str
) -> Declared:
    """The columns that the items keep; the text is the title by default."""
    id_column = id_column_of(table, columns.get(ITEM, ITEM), origin)
    return declare(table, id_column, template, item_columns, origin)


def _refuse_columns_of_nothing(template: str | None, item_columns: Sequence[str], origin: str) -> None:
    if template is not None:
        raise DataError(
            f"data.item_text '{template}': {origin} comes without an item table, so there is nothing "
            "to fill it with. Give the source an item table, or leave item_text out: items are then "
            "read as their ids."
        )
    if item_columns:
        raise DataError(f"head.item_columns: {origin} comes without an item table. Leave it out, or give one.")


def _refuse_other_items(listed: Encoded, sources: Sequence[Encoded], origin: str, items_origin: str) -> None:
    """Raise DataError where none of the items is in the item table, with what may have made the ids differ."""
    others, some = listed.ids.to_pylist(), list(dict.fromkeys(item for ids in sources for item in ids.ids.to_pylist()))
    if not set(others).isdisjoint(some):
        return
    causes: dict[str, Callable[[str], str]] = {
        "leading zeros are lost in one of them": lambda text: text.lstrip("0"),
        "one of them ends ids with .0": lambda text: text.removesuffix(".0"),
        "capital letters differ": str.casefold,
        "there are blanks around the ids of one": str.strip,
    }
    likely = next((cause for cause, plain in causes.items() if {*map(plain, some)} & {*map(plain, others)}), None)
    example = f", such as '{others[0]}'" if others else ""
    raise DataError(
        f"No item of {origin} (such as '{some[0]}') is in the item table of {items_origin}{example}"
        f"{f': {likely}' if likely else ''}. Write the ids the same way in both, name the right columns under "
        "data.columns, or read all items as their ids with data.unlisted_items=all."
    )

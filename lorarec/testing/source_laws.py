"""check_data_source: what every data source must do."""

from __future__ import annotations

from lorarec.contracts import DataSource
from lorarec.data.columns import ITEM, KNOWN, USER
from lorarec.testing.plugin_laws import check_plugin


def check_data_source(source: DataSource) -> None:
    """Raise AssertionError, in a sentence, for the first law that the source breaks.

    Interactions have users and items and at least one row; the columns it names exist; loading twice gives
    the same rows in the same order.
    """
    check_plugin(type(source))
    tables, again = source.load(), source.load()
    assert len(tables.interactions), "the source gives no interactions"
    unknown = sorted(set(tables.columns) - set(KNOWN))
    assert not unknown, f"columns maps names lorarec does not know: {unknown}; it knows {sorted(KNOWN)}"
    for column in (USER, ITEM):
        name = tables.columns.get(column, column)
        there = name in tables.interactions.column_names
        assert there, f"no column of the interactions is the {column}: map it in columns"
    present = [table for table in (tables.interactions, tables.items, tables.users) if table is not None]
    for column, name in tables.columns.items():
        found = any(name in table.column_names for table in present)
        assert found, f"columns maps {column} to '{name}', which no table has"
    same = tables.interactions.data.table.equals(again.interactions.data.table)
    assert same, "loading twice gave other rows, or another order"
    assert tables.origin, "origin is empty: messages need the file or address to name"

"""Formulas in csv: cells that a spreadsheet would run are written so that it shows them as text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

FORMULA = r"^[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"
"""Cells that begin so are run as formulas (OWASP, CSV Injection), also in full width."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def without_formulas(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before every text, and every column name, that begins like a formula; numbers, also
    those that are text, stay as they are."""
    for index, field in enumerate(table.schema):
        column, name = table.column(index), _plain(pa.chunked_array([[field.name]]))[0].as_py()
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = _plain(column)
        table = table.set_column(index, name, column)
    return table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    formula = pc.and_not(pc.match_substring_regex(column, FORMULA), pc.match_substring_regex(column, NUMBER))
    apostrophe, nothing = pa.scalar("'", column.type), pa.scalar("", column.type)
    return pc.if_else(formula, pc.binary_join_element_wise(apostrophe, column, nothing), column)

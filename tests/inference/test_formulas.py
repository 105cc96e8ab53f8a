"""Cells of csv that a spreadsheet would run."""

from __future__ import annotations

import pyarrow as pa

from lorarec.inference.formulas import without_formulas


def test_texts_that_begin_like_a_formula_get_an_apostrophe_and_numbers_stay() -> None:
    plain = ["-5", "+1.5e3", "-.5", "a=b", "", None, "'x"]
    texts = ["=1+2", "+x", "-x", "@SUM(A1)", "\tx", "\rx", "\uff1d1", *plain, "-1-2"]
    scores, large = [-1.5] * len(texts), pa.array(texts, pa.large_string())
    table = pa.table({"=name": texts, "score": scores, "large": large})
    safe = without_formulas(table)
    expected = ["'=1+2", "'+x", "'-x", "'@SUM(A1)", "'\tx", "'\rx", "'\uff1d1", *plain, "'-1-2"]
    assert safe.column_names == ["'=name", "score", "large"]
    assert safe.column("'=name").to_pylist() == safe.column("large").to_pylist() == expected
    assert safe.column("score").equals(table.column("score"))

"""Numbers and clicks in the spellings of shops: read rightly, or refused with row and both readings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lorarec.data.file_rows import Rows
from lorarec.data.numbers import is_word, read_clicks, read_numbers, read_weights
from lorarec.errors import DataError

WHERE = "f.csv, column 'x'"


def read(values: list[Any], decimal: str | None = None, kind: pa.DataType | None = None) -> tuple[list[float], str]:
    result = read_numbers(pa.chunked_array([pa.array(values, kind)]), WHERE, None, decimal)
    return result.values.tolist(), " ".join(result.notes)


def refusal(values: list[Any], decimal: str | None = None, reader: Any = read_numbers) -> str:
    with pytest.raises(DataError) as caught:
        reader(pa.chunked_array([pa.array(values)]), WHERE, None, decimal)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "numbers", "note"),
    [
        (["4,5", "3"], [4.5, 3], "'4,5' is read as 4.5 (detected: decimal ',')"),
        (["-1,5", "0,125"], [-1.5, 0.125], "decimal ','"),
        (["1.234,5", "2"], [1234.5, 2], "'1.234,5' is read as 1234.5 (detected: decimal ',')"),
        (["1,234.5", "2"], [1234.5, 2], "'1,234.5' is read as 1234.5 (detected: decimal '.')"),
        (["1,234,567"], [1234567], "decimal '.'"),
        (["1 234", "5"], [1234, 5], "'1 234' is read as 1234"),
        (["1\u202f234,50", "2"], [1234.5, 2], "decimal ','"),
        (["1'234.5", "1\u2019000.0"], [1234.5, 1000], "decimal '.'"),
        (["$8", "$1,234.50", "-$2"], [8, 1234.5, -2], "the currency sign $ is left out"),
        (["8 €", "4,50\u00a0€"], [8, 4.5], "the currency sign € is left out"),
        (["USD 5", "USD 6"], [5, 6], "the currency sign USD is left out"),
        ([" 4.5 ", "3"], [4.5, 3], ""),
        (["1e-3", "2E2"], [0.001, 200], ""),
    ],
)
def test_a_spelling_of_all_rows_is_read_and_named(values: list[str], numbers: list[float], note: str) -> None:
    result, notes = read(values)
    assert result == numbers and note in notes and bool(notes) == bool(note)
    assert read([*values], kind=pa.large_string())[0] == numbers


def test_a_number_that_can_be_read_in_two_ways_is_refused_with_both() -> None:
    for values, first in ((["7", "1,234"], "1,234"), (["$1.234", "$5"], "$1.234")):
        message = refusal(values)
        assert f"row {1 + values.index(first)}: {first!r} can be " in message and 'decimal: ","' in message
    assert "can be 1234 or 1.234, and so can all other rows" in refusal(["1,234"])
    assert read(["1,234"], ",")[0] == [1.234] and read(["1,234"], ".")[0] == [1234]
    assert read(["1.234"], ",")[0] == [1234], "a set decimal comma makes points separate thousands"
    assert read(["1.234"])[0] == [1.234], "every tool writes numbers so"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["4.5", "4,5"], "'4.5' in row 1 has a decimal point, but '4,5' in row 2 a decimal comma"),
        (["$8", "8 €"], "'$8' in row 1, but '8 €' in row 2. Write all amounts in one currency"),
        (["$8", "8"], "'$8' in row 1, but '8' in row 2"),
        (["4,5", "good"], "row 2: 'good' is not a number"),
        (["3", "85%"], "row 2: '85%' is not a number"),
        (["1,23,456"], "row 1: '1,23,456' is not a number"),
        (["4,5", "", None], "row 2: the value is missing (empty), as it is in 2 rows: 2, 3."),
        (["3", "  "], "row 2: the value is missing (empty). Correct or remove the row, or leave such rows out: data.m"),
        ([3.0, float("nan")], "row 2: the value is missing (nan)"),
        (["3", "nan"], "row 2: 'nan' is not a finite number"),
        ([3.0, float("-inf")], "row 2: -inf is not a finite number"),
        ([3.0, 1e308], "row 2: 1e+308 is too large to compute with"),
        (["3", "1e38"], "row 2: '1e38' is too large to compute with"),
        (["1e400"], "row 1: '1e400' is not a finite number"),
        (["x" * 10**6], "row 1: 'xxx"),
    ],
)
def test_what_is_no_number_is_refused_by_row(values: list[Any], said: str) -> None:
    message = refusal(values)
    assert said in message and len(message) < 400, message


def test_a_set_mark_that_a_row_does_not_have_is_refused() -> None:
    assert "row 2: '4.5' is not a number with a decimal ','" in refusal(["4,5", "4.5"], ",")


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.decimal128(6, 2), pa.int8(), pa.uint64(), pa.bool_()])
def test_numbers_of_every_type_are_numbers(kind: pa.DataType) -> None:
    one = {pa.float16(): np.float16(1), pa.decimal128(6, 2): Decimal(1), pa.bool_(): True}.get(kind, 1)
    value = pa.array([one], kind)
    assert read_numbers(pa.chunked_array([value]), WHERE).values.tolist() == [1.0]


@pytest.mark.parametrize("pair", [("yes", "no"), ("True", "False"), ("Y", "N"), ("t", "f"), ("1.0", "0.0"), ("1", "0")])
def test_clicks_are_words_or_numbers(pair: tuple[str, str]) -> None:
    result = read_clicks(pa.chunked_array([pa.array([*pair, pair[0].upper()])]), WHERE)
    assert result.values.tolist() == [1.0, 0.0, 1.0]
    assert bool(result.notes) == (pair[0][0] != "1")


@pytest.mark.parametrize(
    ("values", "same"),
    [
        (pa.array([0.0, 5.0, 0.1], pa.float32()), [True, False, True]),
        (pa.array(np.array([0, 5, 1000], np.float16)), [True, False, True]),
        (pa.array([Decimal("0.00"), Decimal("5.10"), Decimal("0.10")]), [True, False, True]),
        (pa.array([0, -1, 5], pa.int8()), [True, True, False]),
        (pa.array([2**53, 2**53 + 1, 2**64 - 1], pa.uint64()), [False, True, False]),
        (pa.array([" 0", "0.0", None]).dictionary_encode(), [True, False, False]),
        (pa.array([True, False, None]), [False] * 3),
        (pa.array([[0], [], [None]]), [False] * 3),
        (pa.array([date(1970, 1, 1)] * 3), [False] * 3),
    ],
)
def test_words_for_missing_values_are_compared_in_the_type_of_the_column(values: pa.Array, same: list[bool]) -> None:
    words = ("0", "-1.0", "0.1", str(2**53 + 1), "1" * 40, "1000", "x")
    assert is_word(pa.chunked_array([values]), words).to_pylist() == same


def test_clicks_in_two_spellings_are_refused_by_row() -> None:
    assert "row 2: '1', but row 1 says 'yes'" in refusal(["yes", "1"], reader=read_clicks)
    assert "row 3: 'true', but row 1 says 'no'" in refusal(["no", "yes", "true"], reader=read_clicks)
    assert "row 2: 'yes' is not a number" in refusal(["1", "yes"], reader=read_clicks)


def test_rows_that_were_left_out_still_count_in_messages() -> None:
    with pytest.raises(DataError, match="row 8: 'x' is not a number"):
        read_weights(pa.chunked_array([pa.array(["1", "x"])]), WHERE, Rows(np.array([3, 7])))

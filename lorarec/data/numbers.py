"""Numbers: columns of ratings, weights and clicks as float64, of any type and in the spelling of shops.

Spellings are detected only where all rows agree, and what was detected is a note for the data report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.file_rows import Rows, row_of
from lorarec.errors import DataError

LARGEST = 1e15
"""A model in float32 computes with squares of ratings and weights, which stay finite."""
SPACES = r"[\s\x{00A0}\x{202F}]"
CURRENCY = r"[$€£¥₹₽₩₺₫฿]|USD|EUR|GBP|JPY|CHF|CAD|AUD|SEK|NOK|DKK|PLN|CZK|INR|BRL|CNY|kr|zł|Kč|R\$"
SPELLED = (
    rf"^(?P<sign>[+-]?)\s*(?P<before>{CURRENCY})?{SPACES}*(?P<minus>-?)"
    rf"(?P<digits>[0-9.,](?:[0-9.,'\x{{2019}}]|{SPACES})*?)(?P<power>[eE][+-]?[0-9]{{1,3}})?{SPACES}*(?P<after>{CURRENCY})?$"
)
POINT_ZERO = re.compile(r"\.0+$")
NOTHING = pa.scalar("", pa.large_string())
WORDS = (("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"))
"""Words for 1 and 0 in a column of clicks."""


class OddValue(DataError):
    """A value that is neither a number, a click nor a date; `value` is the value itself."""

    def __init__(self, message: str, value: object) -> None:
        super().__init__(message)
        self.value = value


class Read(NamedTuple):
    """A column of n numbers."""

    values: np.ndarray
    """[n] float64, finite."""
    notes: tuple[str, ...] = ()
    """What was detected, for the data report."""


def read_numbers(
    column: pa.ChunkedArray,
    where: str,
    rows: Rows | None = None,
    decimal: str | None = None,
    largest: float = LARGEST,
) -> Read:
    """Numbers, true/false as 1/0, and numbers written as text: 4.5, 4,5, 1,234.5, 1.234,5, 1 234, $8, 8 €.

    `where` names file and column, `rows` is as in `row_of`, `decimal` is the decimal mark where it is set. Raises
    DataError naming the row and value of the first one that is missing, infinite, too large or no number, and where
    values can be read in two ways, with both.
    """
    column = plain_column(column)
    if not is_text(column.type):
        return Read(_finite(column, as_float(column, where, rows), where, rows, largest))
    words = pc.utf8_trim_whitespace(column)
    refuse_missing(words, where, rows)
    if decimal != "," or not len(words):
        try:
            return Read(_finite(column, _array(words.cast(pa.float64())), where, rows, largest))
        except pa.ArrowInvalid:
            pass
    read = _spelled(words, where, rows, decimal)
    return Read(_finite(column, read.values, where, rows, largest), read.notes)


def read_weights(column: pa.ChunkedArray, where: str, rows: Rows | None = None, decimal: str | None = None) -> Read:
    """[n] weights of rows, as scikit-learn's `sample_weight`: 0 or more, and not all 0; else as `read_numbers`."""
    read = read_numbers(column, where, rows, decimal)
    if (read.values < 0).any():
        index = int(np.argmax(read.values < 0))
        raise DataError(
            f"{where}, row {row_of(index, rows)}: {read.values[index]:g} is below 0. Weights are 0 (the row is not "
            "learned from) or more."
        )
    if not read.values.any():
        raise DataError(f"{where}: all {len(read.values)} weights are 0, so that nothing would be learned.")
    return read


def read_clicks(column: pa.ChunkedArray, where: str, rows: Rows | None = None, decimal: str | None = None) -> Read:
    """As `read_numbers`, or yes/no, true/false, y/n, t/f in any case: one pair in all rows."""
    column = plain_column(column)
    if not is_text(column.type) or not len(column):
        return read_numbers(column, where, rows, decimal)
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    refuse_missing(words, where, rows)
    pair = click_words(words[0].as_py())
    if pair is None:
        return read_numbers(column, where, rows, decimal)
    other = pc.index(pc.is_in(words, pa.array(pair)), pa.scalar(False)).as_py()
    if other >= 0:
        raise OddValue(
            f"{where}, row {row_of(other, rows)}: {column[other].as_py()!r}, but row {row_of(0, rows)} says "
            f"{column[0].as_py()!r}. Write clicks as one of 1 and 0, yes and no, true and false, in all rows.",
            column[other].as_py(),
        )
    yes, no = pair
    return Read(_array(pc.equal(words, yes).cast(pa.float64())), (f"{where}: {yes} is 1, {no} is 0 (detected)",))


def click_words(text: str) -> tuple[str, str] | None:
    """The words for 1 and 0 of which a text is one; None where it is none."""
    word = text.strip().lower()
    return next((pair for pair in WORDS if word in pair), None)


def as_float(column: pa.ChunkedArray, where: str, rows: Rows | None = None) -> np.ndarray:
    """[n] float64; missing and infinite values are allowed (missing ones as NaN). `rows` is as in `row_of`.

    Raises DataError naming row and value of text that is not a number.
    """
    column = plain_column(column)
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (is_number(kind) or pa.types.is_null(kind) or is_text(kind)):
        raise DataError(f"{where}: values of type {kind} are not numbers. Convert the column.")
    try:
        return _array(column.cast(pa.float64(), safe=False))
    except pa.ArrowInvalid:
        index = _first_word(column)
        raise _no_number(column, index, where, rows) from None


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without a dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is that of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is one of whole numbers, floats or decimals."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_missing(column: pa.ChunkedArray, words: Sequence[str] = ()) -> pa.ChunkedArray:
    """[n] whether a value is null, NaN, an empty text, or one of the words, as `is_word` says."""
    column = plain_column(column)
    missing = column.is_null(nan_is_null=True)
    if is_text(column.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(column, ""), True))
    return pc.or_(missing, is_word(column, words)) if words else missing


def is_word(column: pa.ChunkedArray, words: Sequence[str]) -> pa.ChunkedArray:
    """[n] whether a value is one of the words for a missing value (data.missing_values); blanks around a word do not
    matter, and words that are numbers are also those of columns of numbers."""
    column = plain_column(column)
    if is_text(column.type):
        return pc.is_in(pc.utf8_trim_whitespace(column), pa.array(list(words), column.type))
    if pa.types.is_float16(column.type):  # which Arrow does not compare
        column = column.cast(pa.float32())
    values = numbers_of_words(words, column.type)
    return pc.is_in(column, pa.array(values, column.type)) if values else pc.and_(column.is_valid(), False)


def numbers_of_words(words: Sequence[str], kind: pa.DataType) -> list[Any]:
    """The words that are numbers, as values of a type of numbers."""
    return [value for value in (_as_value(word, kind) for word in words) if value is not None]


def _as_value(word: str, kind: pa.DataType) -> Any:
    """A word as a number of a column's type; None where it is none, or where the type is none of numbers."""
    if not is_number(kind):
        return None
    text = POINT_ZERO.sub("", word) if pa.types.is_integer(kind) else word
    try:
        return pa.scalar(text).cast(kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # no number, or none of this type
        return None


def refuse_missing(column: pa.ChunkedArray, where: str, rows: Rows | None = None, words: Sequence[str] = ()) -> None:
    """Raise DataError naming the rows of missing values and their number, if there are any; `words` is as in
    `is_missing`."""
    missing = np.flatnonzero(is_missing(column, words).to_numpy())
    if len(missing):
        named = ", ".join(row_of(int(index), rows) for index in missing[:5])
        value = plain_column(column)[int(missing[0])].as_py()
        what = f"is missing ({cut(value) if str(value).strip() in words else value or 'empty'})"
        if len(missing) > 1:
            what += f", as it is in {len(missing):,} rows: {named}{', ...' if len(missing) > 5 else ''}"
        raise DataError(
            f"{where}, row {row_of(int(missing[0]), rows)}: the value {what}. Correct or remove the row"
            f"{'s' if len(missing) > 1 else ''}, or leave such rows out: data.missing=drop."
        )


def _spelled(words: pa.ChunkedArray, where: str, rows: Rows | None, decimal: str | None) -> Read:
    """Numbers with decimal commas, thousands separators and currency signs; `words` has no blanks."""
    parts = pc.extract_regex(words.cast(pa.large_string()).combine_chunks(), SPELLED)
    odd = pc.index(parts.is_valid(), pa.scalar(False)).as_py()
    if odd >= 0:
        raise _no_number(words, odd, where, rows)
    sign = _one_currency(parts, words, where, rows)
    digits = pc.replace_substring_regex(parts.field("digits"), SPACES, " ")
    digits = pc.replace_substring(digits, "\u2019", "'")
    mark = decimal or _decimal_mark(digits, words, where, rows)
    fits = _fits(digits, mark)
    if not fits.all():
        index = int(np.argmin(fits))
        raise _no_number(words, index, where, rows, f" with a decimal '{mark}'")
    plain = pc.replace_substring_regex(digits, f"[ '{'.' if mark == ',' else ','}]", "")
    if mark == ",":
        plain = pc.replace_substring(plain, ",", ".")
    minus = _joined(parts.field("sign"), parts.field("minus"))
    minus = pc.if_else(pc.match_substring(minus, "-"), pa.scalar("-", pa.large_string()), NOTHING)
    texts = _joined(minus, plain, parts.field("power"))
    values = _array(texts.cast(pa.float64()))
    shown = _example(words, digits)
    note = f"{where}: {words[shown].as_py()!r} is read as {values[shown]:.15g}"
    left_out = f"; the currency sign {sign} is left out" if sign else ""
    return Read(values, (f"{note} ({'set' if decimal else 'detected'}: decimal '{mark}'{left_out})",))


def _joined(*texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(*texts, NOTHING)


def _one_currency(parts: pa.StructArray, words: pa.ChunkedArray, where: str, rows: Rows | None) -> str:
    """The currency sign of all rows, or nothing."""
    signs = _joined(parts.field("before"), parts.field("after"))
    other = pc.index(pc.equal(signs, signs[0]), pa.scalar(False)).as_py()
    if other >= 0:
        raise DataError(
            f"{where}: {words[0].as_py()!r} in row {row_of(0, rows)}, but {words[other].as_py()!r} in row "
            f"{row_of(other, rows)}. Write all amounts in one currency, with its sign in all rows or in none."
        )
    return str(signs[0].as_py())


def _decimal_mark(digits: pa.Array, words: pa.ChunkedArray, where: str, rows: Rows | None) -> str:
    """The decimal mark by which all rows are numbers. Raises DataError where both or neither are."""
    point, comma = _fits(digits, "."), _fits(digits, ",")
    if point.all() != comma.all():
        return "." if point.all() else ","
    marked = pc.match_substring_regex(digits, "[.,]").to_numpy(zero_copy_only=False)
    if point.all():
        if not marked.any():
            return "."
        index = int(np.argmax(marked))
        text = digits[index].as_py().replace(" ", "").replace("'", "")
        as_point, as_comma = text.replace(",", ""), text.replace(".", "").replace(",", ".")
        raise DataError(
            f"{where}, row {row_of(index, rows)}: {words[index].as_py()!r} can be {float(as_point):.15g} or "
            f'{float(as_comma):.15g}, and so can all other rows. Set the decimal mark of the file, `decimal: "."` or '
            '`decimal: ","` (an option of its table in the source `files`), or write plain numbers.'
        )
    neither = ~point & ~comma
    if neither.any():
        index = int(np.argmax(neither))
        raise _no_number(words, index, where, rows)
    one, other = int(np.argmin(comma)), int(np.argmin(point))
    raise DataError(
        f"{where}: {words[one].as_py()!r} in row {row_of(one, rows)} has a decimal point, but {words[other].as_py()!r} "
        f"in row {row_of(other, rows)} a decimal comma. Write all rows in one way."
    )


def _fits(digits: pa.Array, mark: str) -> np.ndarray:
    """[n] whether digits are a number with this decimal mark, and groups of three by the other mark, blanks or '."""
    group = "," if mark == "." else r"\."
    mark = rf"\{mark}"
    whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:(?:{group}[0-9]{{3}})+|(?: [0-9]{{3}})+|(?:'[0-9]{{3}})+))"
    fits: np.ndarray = pc.match_substring_regex(digits, rf"^(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)$").to_numpy(
        zero_copy_only=False
    )
    return fits


def _example(words: pa.ChunkedArray, digits: pa.Array) -> int:
    """The index of a row that shows the spelling."""
    for pattern in (r"[.,].*[.,]", r"[ '.,]"):
        index = int(pc.index(pc.match_substring_regex(digits, pattern), pa.scalar(True)).as_py())
        if index >= 0:
            return index
    return 0


def _no_number(column: pa.ChunkedArray, index: int, where: str, rows: Rows | None, how: str = "") -> DataError:
    value = column[index].as_py()
    what = f"{cut(value)} is not a number{how}. Correct or remove the row."
    return OddValue(f"{where}, row {row_of(index, rows)}: {what}", value)


def cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _array(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    values = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float64)


def _first_word(column: pa.ChunkedArray) -> int:
    """The index of the first text that is not a number, by bisection."""
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            column.slice(start, middle - start).cast(pa.float64())
            start = middle
        except pa.ArrowInvalid:
            stop = middle
    return start


def _finite(column: pa.ChunkedArray, values: np.ndarray, where: str, rows: Rows | None, largest: float) -> np.ndarray:
    if np.isnan(values).any():
        refuse_missing(column, where, rows)
    bad = ~(np.abs(values) <= largest)
    if bad.any():
        index = int(np.argmax(bad))
        what = "is too large to compute with" if np.isfinite(values[index]) else "is not a finite number"
        raise OddValue(
            f"{where}, row {row_of(index, rows)}: {cut(column[index].as_py())} {what}. Correct or remove the row.",
            column[index].as_py(),
        )
    return values

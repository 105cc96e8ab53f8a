"""Times: columns of dates and of numbers as seconds since 1970, in the spellings of shops.

A spelling is detected only where all rows agree, and what was detected is a note for the data report.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.file_rows import Rows, row_of
from lorarec.data.numbers import NOTHING, OddValue, Read, cut, is_text, plain_column, read_numbers, refuse_missing
from lorarec.errors import DataError

LARGEST = 1e19
"""Of numbers: nanoseconds since 1970 fit into 64 bits."""
UNITS = (("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9))
FIRST, LAST = 1e8, 4.2e9
"""Seconds of the years 1973 to 2103: numbers of another unit are not between them."""
DAY_FIRST, MONTH_FIRST = "day_first", "month_first"

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    r"(?P<name>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))\.?"
)
_CLOCK = (
    r"(?:(?:T|,? +)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r"(?: *(?P<half>[AaPp])\.?[Mm]\.?)?)? *(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?(?: UTC)?$"
)
YEAR_FIRST, YEAR_LAST, NAMED, SHORT, NUMBER = "year first", "year last", "month by name", "two-digit year", "number"
STYLES = {
    YEAR_FIRST: [r"^(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})" + _CLOCK],
    YEAR_LAST: [r"^(?P<one>[0-9]{1,2})[-/.](?P<two>[0-9]{1,2})[-/.](?P<year>[0-9]{4})" + _CLOCK],
    NAMED: [
        rf"^(?:[A-Za-z]{{3,9}},? +)?{_MONTH} +(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?,? +(?P<year>[0-9]{{4}})" + _CLOCK,
        rf"^(?:[A-Za-z]{{3,9}},? +)?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?\.?[ -]+{_MONTH}[ ,-]+(?P<year>[0-9]{{4}})"
        + _CLOCK,
    ],
    SHORT: [r"^[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2}" + _CLOCK],
    NUMBER: [r"^[+-]?[0-9]+(?:\.[0-9]+)?$"],
}


def read_times(
    column: pa.ChunkedArray,
    where: str,
    rows: Rows | None = None,
    dates: str | None = None,
    decimal: str | None = None,
) -> Read:
    """[n] float64 seconds since 1970: dates and times (UTC where they have no zone), and numbers of seconds, milli-,
    micro- or nanoseconds; other numbers, such as counters, stay as they are.

    `dates` is data.dates: day_first, month_first, or a format of `strptime`; `where`, `rows` and `decimal` are as in
    `read_numbers`. Raises DataError naming the row and value of the first one that is missing or no time, and where
    dates can be read in two ways, with both.
    """
    column = plain_column(column)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if pa.types.is_date32(column.type) else "ms"))
    if pa.types.is_timestamp(column.type):
        _refuse_idle(dates, where, "has dates already")
        return Read(_of_timestamps(column, where, rows))
    if not is_text(column.type):
        if dates is not None and "%" in dates and pa.types.is_integer(column.type):
            return _by_format(column.cast(pa.string()), where, rows, dates)
        _refuse_idle(dates, where, "has numbers")
        return _of_numbers(column, where, rows)
    words = pc.utf8_trim_whitespace(column)
    refuse_missing(words, where, rows)
    if dates is not None and "%" in dates:
        return _by_format(words, where, rows, dates)
    return _of_text(words, where, rows, dates, decimal)


def _of_text(words: pa.ChunkedArray, where: str, rows: Rows | None, dates: str | None, decimal: str | None) -> Read:
    if dates is None and (fast := _iso(words)) is not None:
        return fast
    texts = words.cast(pa.large_string()).combine_chunks()
    fits = {style: [pc.match_substring_regex(texts, p) for p in patterns] for style, patterns in STYLES.items()}
    counts = {style: sum(int(pc.sum(fit).as_py() or 0) for fit in found) for style, found in fits.items()}
    style = max(counts, key=lambda name: counts[name])
    if not counts[style]:
        how = " in a form that is detected; others are declared by data.dates, such as '%d %b %y' (Python's strptime)"
        raise _no_date(texts, 0, where, rows, how)
    if style == NUMBER:
        _refuse_idle(dates, where, "has numbers")
        return _of_numbers(words, where, rows, decimal)
    _refuse_others(texts, fits[style], where, rows)
    if style == SHORT:
        raise DataError(
            f"{where}, row {row_of(0, rows)}: {texts[0].as_py()!r} has a year of two digits. Write four, or set the "
            "format, such as data.dates='%d/%m/%y'."
        )
    if style != YEAR_LAST:
        _refuse_idle(dates, where, f"has dates such as {texts[0].as_py()!r}")
    return _of_parts(texts, style, where, rows, dates)


def _iso(words: pa.ChunkedArray) -> Read | None:
    """ISO 8601 dates, all with a zone or all without; None where there are others."""
    for zone in ("UTC", None):
        try:
            return Read(_seconds(words.cast(pa.timestamp("us", zone)).cast(pa.int64()), 10**6))
        except pa.ArrowInvalid:
            continue
    return None


def _of_parts(texts: pa.Array, style: str, where: str, rows: Rows | None, dates: str | None) -> Read:
    """Dates of one style, by their parts."""
    extracted = [pc.extract_regex(texts, pattern) for pattern in STYLES[style]]

    def part(name: str) -> pa.Array:
        return pc.coalesce(*(pc.struct_field(found, name) for found in extracted), NOTHING)

    year, notes = _ints(part("year")), tuple[str, ...]()
    if style == YEAR_LAST:
        one, two = _ints(part("one")), _ints(part("two"))
        order = _order(one, two, texts, where, rows) if dates is None else dates
        day, month = (one, two) if order == DAY_FIRST else (two, one)
        if (one != two).any():
            what = f"{texts[int(np.argmax(one != two))].as_py()!r} is read {order.replace('_', ' ')}"
            notes = (f"{where}: {what} ({'detected' if dates is None else 'set'})",)
    else:
        day = _ints(part("day"))
        month = _ints(part("month")) if style == YEAR_FIRST else _months(part("name"))
    hour, half = _ints(part("hour")), pc.ascii_lower(part("half")).to_numpy(zero_copy_only=False)
    minute, second, zone = _ints(part("minute")), _ints(part("second")), part("zone")
    clock12 = half != ""
    wrong = (month < 1) | (month > 12) | (minute > 59) | (second > 59) | (hour > 23)
    wrong |= clock12 & ((hour < 1) | (hour > 12))
    start = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    days = start.astype("datetime64[D]") + (day - 1)
    wrong |= (day < 1) | (days.astype("datetime64[M]") != start)
    if wrong.any():
        index = int(np.argmax(wrong))
        hint = f", read {dates.replace('_', ' ')} by data.dates" if dates is not None else ""
        raise _no_date(texts, index, where, rows, hint)
    hour = np.where(clock12, hour % 12 + 12 * (half == "p"), hour)
    micros = _ints(pc.utf8_slice_codeunits(pc.ascii_rpad(part("part"), 6, "0"), 0, 6))
    seconds = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second - _offsets(zone, texts, where, rows)
    return Read((seconds * 10**6 + micros) / 1e6, notes)


def _order(one: np.ndarray, two: np.ndarray, texts: pa.Array, where: str, rows: Rows | None) -> str:
    """Which of the two numbers is the day, where some row decides it."""
    if (one > 12).any() and (two > 12).any():
        first, other = int(np.argmax(one > 12)), int(np.argmax(two > 12))
        raise DataError(
            f"{where}: {texts[first].as_py()!r} in row {row_of(first, rows)} can only be day first, but "
            f"{texts[other].as_py()!r} in row {row_of(other, rows)} only month first. Write all dates in one way."
        )
    if (one > 12).any() or (one == two).all():
        return DAY_FIRST
    if (two > 12).any():
        return MONTH_FIRST
    index = int(np.argmax(one != two))
    first, second = int(one[index]), int(two[index])
    readings = [f"{day} {_MONTHS[month - 1].title()}" for day, month in ((first, second), (second, first)) if month]
    raise DataError(
        f"{where}, row {row_of(index, rows)}: {texts[index].as_py()!r} can be {' or '.join(readings)}, and so can all "
        "other rows. Set data.dates=day_first or data.dates=month_first."
    )


def _offsets(zone: pa.Array, texts: pa.Array, where: str, rows: Rows | None) -> np.ndarray:
    """[n] seconds of the offsets from UTC. Raises DataError where only some rows have a zone."""
    without = pc.equal(zone, "").to_numpy(zero_copy_only=False)
    if without.any() and not without.all():
        one, other = int(np.argmin(without)), int(np.argmax(without))
        raise DataError(
            f"{where}: {texts[one].as_py()!r} in row {row_of(one, rows)} has a time zone, but {texts[other].as_py()!r} "
            f"in row {row_of(other, rows)} has none. Write it in all rows or in none (then UTC)."
        )
    parts = pc.extract_regex(zone, r"^(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})$")
    hours, minutes = (_ints(pc.fill_null(parts.field(name), NOTHING)) for name in ("hours", "minutes"))
    negative = pc.fill_null(pc.equal(parts.field("sign"), "-"), False).to_numpy(zero_copy_only=False)
    offsets: np.ndarray = np.where(negative, -1, 1) * (hours * 3_600 + minutes * 60)
    return offsets


def _by_format(words: pa.ChunkedArray, where: str, rows: Rows | None, dates: str) -> Read:
    """Dates by a format of Python's `strptime`, parsed once for each distinct text."""
    refuse_missing(words, where, rows)
    encoded = words.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    seconds = np.empty(len(encoded.dictionary))
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            date = datetime.strptime(text, dates)
            seconds[code] = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            index = int(np.argmax(codes == code))
            raise _no_date(words, index, where, rows, f" of the format data.dates='{dates}'") from None
    return Read(seconds[codes])


def _of_numbers(column: pa.ChunkedArray, where: str, rows: Rows | None, decimal: str | None = None) -> Read:
    """Numbers, divided by their unit, which the largest of them shows."""
    values, notes = read_numbers(column, where, rows, decimal, LARGEST)
    largest = float(np.abs(values).max(initial=0))
    name, per_second = next(((name, factor) for name, factor in UNITS if FIRST <= largest / factor <= LAST), ("", 1))
    if per_second > 1:
        finer = np.abs(values) >= FIRST * per_second
        other = ~finer & (np.abs(values) >= FIRST) & (np.abs(values) <= LAST * per_second / 1000)
        if other.any():
            index, big = int(np.argmax(other)), int(np.argmax(finer))
            raise DataError(
                f"{where}: {values[big]:.20g} in row {row_of(big, rows)} is a number of {name}, but "
                f"{values[index]:.20g} in row {row_of(index, rows)} is not. Write all times in one unit."
            )
        if pa.types.is_integer(column.type) and per_second == 10**9:
            values = _seconds(pc.floor(pc.divide(column.cast(pa.int64()), 1000)).cast(pa.int64()), 10**6)
        else:
            values = values / per_second
        notes = (*notes, f"{where}: {name} since 1970 (detected)")
    if style := _calendar_style(values):
        example = f"{int(values[0])} may be a date: data.dates='{style}' reads it as one"
        notes = (*notes, f"{where}: numbers that count up, as they are; {example}")
    zeros = int((values == 0).sum())
    if largest >= FIRST and 0 < zeros < len(values):
        missing = "the time 0, which is 1970-01-01 and may stand for a missing one"
        notes = (*notes, f"{where}: {zeros:,} row{'s have' if zeros > 1 else ' has'} {missing}")
    return Read(values, notes)


def _calendar_style(values: np.ndarray) -> str:
    """The format by which all whole numbers are dates of 1900 to 2100, such as 20220131; empty if they are none."""
    for style, clock in (("%Y%m%d", 1), ("%Y%m%d%H%M%S", 10**6)):
        # A look at the first values spares nearly all columns the rest.
        if all(_are_days(some / clock) and not (some % 1).any() for some in (values[:100], values)):
            return style
    return ""


def _are_days(numbers: np.ndarray) -> bool:
    days = np.floor(numbers)
    year, month, day = days // 10000, days // 100 % 100, days % 100
    return bool(((year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _of_timestamps(column: pa.ChunkedArray, where: str, rows: Rows | None) -> np.ndarray:
    refuse_missing(column, where, rows)
    units = column.cast(pa.int64())
    if column.type.unit == "ns":  # float64 holds the microseconds of current dates exactly
        return _seconds(pc.floor(pc.divide(units, 1000)).cast(pa.int64()), 10**6)
    return _seconds(units, {"s": 1, "ms": 10**3, "us": 10**6}[column.type.unit])


def _seconds(column: pa.ChunkedArray, per_second: int) -> np.ndarray:
    values: np.ndarray = column.to_numpy().astype(np.float64) / per_second
    return values


def _ints(texts: pa.Array) -> np.ndarray:
    filled = pc.if_else(pc.equal(texts, ""), pa.scalar("0", pa.large_string()), texts)
    values: np.ndarray = filled.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def _months(names: pa.Array) -> np.ndarray:
    short = pc.utf8_slice_codeunits(pc.ascii_lower(names), 0, 3)
    months: np.ndarray = pc.index_in(short, pa.array(_MONTHS, pa.large_string())).to_numpy(zero_copy_only=False) + 1
    return months.astype(np.int64)


def _refuse_others(texts: pa.Array, fits: list[pa.Array], where: str, rows: Rows | None) -> None:
    fit = np.logical_or.reduce([found.to_numpy(zero_copy_only=False) for found in fits])
    if not fit.all():
        index, usual = int(np.argmin(fit)), int(np.argmax(fit))
        like = f" like {texts[usual].as_py()!r} in row {row_of(usual, rows)}"
        raise _no_date(texts, index, where, rows, like)


def _refuse_idle(dates: str | None, where: str, why: str) -> None:
    if dates is not None:
        raise DataError(f"data.dates={dates} does nothing here: {where} {why}. Leave it out.")


def _no_date(column: pa.ChunkedArray | pa.Array, index: int, where: str, rows: Rows | None, how: str = "") -> DataError:
    value = column[index].as_py()
    what = f"{cut(value)} is not a date{how}. Correct or remove the row."
    return OddValue(f"{where}, row {row_of(index, rows)}: {what}", value)

"""Dates and times in the spellings of shops: read rightly, or refused with row and both readings."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from lorarec.data.times import read_times
from lorarec.errors import DataError

WHERE = "f.csv, column 't'"
FEB28, MAR1 = datetime(2013, 2, 28, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
NOON = datetime(2013, 2, 28, 13, 15, tzinfo=UTC)


def read(values: list[Any], dates: str | None = None, kind: pa.DataType | None = None) -> tuple[list[datetime], str]:
    result = read_times(pa.chunked_array([pa.array(values, kind)]), WHERE, None, dates)
    return [datetime.fromtimestamp(value, UTC) for value in result.values], " ".join(result.notes)


def refusal(values: list[Any], dates: str | None = None, kind: pa.DataType | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(values, dates, kind)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "times"),
    [
        (["2013-02-28", "2013-03-01"], [FEB28, MAR1]),
        (["2013-02-28 13:15:00", "2013-02-28T13:15"], [NOON, NOON]),
        (["2013-02-28T13:15:00Z", "2013-02-28 13:15:00+00:00"], [NOON, NOON]),
        (["2013-02-28 13:15:00 UTC", "2013-02-28 13:15:00.000 UTC"], [NOON, NOON]),
        (["2013-02-28 14:15:00+01:00", "2013-02-28 08:15:00 -0500"], [NOON, NOON]),
        (["2013/02/28", "2013.03.01"], [FEB28, MAR1]),
        (["28/02/2013", "01/03/2013"], [FEB28, MAR1]),
        (["28.02.2013", "1.3.2013"], [FEB28, MAR1]),
        (["02/28/2013 1:15:00 PM", "3/1/2013 12:00:00 am"], [NOON, MAR1]),
        (["Feb 28, 2013", "March 1st, 2013"], [FEB28, MAR1]),
        (["28 Feb 2013", "01-Mar-2013"], [FEB28, MAR1]),
        (["Thu, 28 Feb 2013 13:15:00 GMT", "Thu, 28 Feb 2013 14:15:00 +0100"], [NOON, NOON]),
        (["1362057300", "1362009600"], [NOON, FEB28]),
        (["1362057300000", "1362009600000"], [NOON, FEB28]),
        ([1362057300_000_000, 1362009600_000_000], [NOON, FEB28]),
        ([1362057300_000_000_000, 1362009600_000_000_000], [NOON, FEB28]),
        ([1362057300.0, 1362009600.0], [NOON, FEB28]),
        (["31/12/1969 23:59:59", "01/03/2013"], [datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), MAR1]),
        ([date(1960, 1, 1), date(2013, 3, 1)], [datetime(1960, 1, 1, tzinfo=UTC), MAR1]),
    ],
)
def test_times_of_one_spelling_are_read(values: list[Any], times: list[datetime]) -> None:
    assert read(values)[0] == times
    if isinstance(values[0], str):
        assert read(values, kind=pa.large_string())[0] == times


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_timestamps_of_every_unit_are_the_same_moment(unit: str, zone: str | None) -> None:
    stored = pa.array([FEB28]).cast(pa.timestamp(unit, "UTC"), safe=False).cast(pa.timestamp(unit, zone))
    assert read_times(pa.chunked_array([stored]), WHERE).values.tolist() == [FEB28.timestamp()]


def test_what_was_detected_is_named() -> None:
    assert read(["28/02/2013", "01/03/2013"])[1] == f"{WHERE}: '28/02/2013' is read day first (detected)"
    assert "month first (detected)" in read(["02/28/2013", "03/01/2013"])[1]
    assert "day first (set)" in read(["01/03/2013"], "day_first")[1]
    assert "milliseconds since 1970 (detected)" in read([1362057300000])[1]
    assert "1 row has the time 0, which is 1970-01-01" in read([0, 1362057300])[1]
    assert read(["2013-02-28"])[1] == read([1362057300])[1] == read(["03/03/2013"])[1] == ""


def test_dates_that_can_be_read_in_two_ways_are_refused_with_both_and_declared() -> None:
    message = refusal(["03/03/2013", "11/10/2019 1:15:00 PM"])
    assert "row 2: '11/10/2019 1:15:00 PM' can be 11 Oct or 10 Nov, and so can all other rows" in message
    assert "data.dates=day_first or data.dates=month_first" in message
    assert read(["01/03/2013"], "day_first")[0] == read(["03/01/2013"], "month_first")[0] == [MAR1]


@pytest.mark.parametrize(
    ("values", "dates", "said"),
    [
        (["2013-02-28", "soon"], None, "row 2: 'soon' is not a date like '2013-02-28' in row 1"),
        (["2013-02-28", "", "2013-03-01"], None, "row 2: the value is missing (empty)"),
        (["2013-02-28", None], None, "row 2: the value is missing (empty)"),
        (["2013-02-28", "2013-02-29"], None, "row 2: '2013-02-29' is not a date"),
        (["2013-02-28", "28/02/2013"], None, "row 2: '28/02/2013' is not a date like '2013-02-28' in row 1"),
        (["28/02/2013", "31/04/2013"], None, "row 2: '31/04/2013' is not a date"),
        (["2013-02-28 25:00"], None, "row 1: '2013-02-28 25:00' is not a date"),
        (["02/28/2013 13:15 PM"], None, "row 1: '02/28/2013 13:15 PM' is not a date"),
        (["13/10/2019", "10/13/2019"], None, "in row 1 can only be day first, but '10/13/2019' in row 2 only month"),
        (["2013-02-28 10:00", "2013-02-28 10:00Z"], None, "in row 2 has a time zone, but '2013-02-28 10:00' in row 1"),
        (["28/02/13"], None, "has a year of two digits. Write four, or set the format, such as data.dates='%d/%m/%y'"),
        (["02/28/2013"], "day_first", "row 1: '02/28/2013' is not a date, read day first by data.dates"),
        (["2013-02-28"], "day_first", "data.dates=day_first does nothing here"),
        ([1362057300], "day_first", "data.dates=day_first does nothing here"),
        (["28/02/13", "x"], "%d/%m/%y", "row 2: 'x' is not a date of the format data.dates='%d/%m/%y'"),
        (["1", "soon"], None, "row 2: 'soon' is not a number"),
        ([1362057300, 1362057300000], None, "1362057300000 in row 2 is a number of milliseconds, but 1362057300 in ro"),
        ([1.0, float("inf")], None, "row 2: inf is not a finite number"),
        ([None, 3.0], None, "row 1: the value is missing"),
    ],
)
def test_one_bad_time_is_refused_by_its_row(values: list[Any], dates: str | None, said: str) -> None:
    assert said in refusal(values, dates)


def test_a_format_reads_two_digit_years_and_whole_numbers() -> None:
    assert read(["28/02/13", "01/03/13"], "%d/%m/%y")[0] == [FEB28, MAR1]
    assert read([20130228, 20130301], "%Y%m%d")[0] == [FEB28, MAR1]
    assert read(["Thu Feb 28 05:15:00 -0800 2013"], "%a %b %d %H:%M:%S %z %Y")[0] == [NOON]


def test_counters_stay_as_they_are() -> None:
    assert read_times(pa.chunked_array([[1, 2, 30_000_000]]), WHERE).values.tolist() == [1, 2, 30_000_000]


@pytest.mark.parametrize("kind", [pa.time32("s"), pa.duration("s")])
def test_types_that_are_no_time_are_refused(kind: pa.DataType) -> None:
    assert "are not numbers" in refusal([3], None, kind)


@pytest.mark.parametrize(
    ("values", "style"),
    [([20220103, 20221231], "%Y%m%d"), ([20220103235959, 20221231000000], "%Y%m%d%H%M%S"), ([20220103, 20221331], "")],
)
def test_numbers_that_may_be_dates_are_noted_with_the_setting(values: list[int], style: str) -> None:
    result = read_times(pa.chunked_array([pa.array(values)]), WHERE, None, None)
    assert result.values.tolist() == values
    assert (f"may be a date: data.dates='{style}'" in " ".join(result.notes)) == bool(style)

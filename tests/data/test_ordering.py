"""Orders by packed integers and blocks of rows: exactly what lexsort and whole arrays give."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection, SplitSection
from lorarec.data import ordering
from lorarec.data.audit import audit
from lorarec.data.ordering import changes, is_ascending, order_by, time_order
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables

Events = Callable[..., dict[str, list[Any]]]


@pytest.fixture(params=[1, 7, 1 << 22])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows of a block."""
    monkeypatch.setattr(ordering, "BLOCK", request.param)
    return int(request.param)


@pytest.mark.parametrize("largest", [1, 5, 2**40, 2**62])
def test_rows_are_ordered_by_both_columns_and_then_by_their_index(largest: int, block: int) -> None:
    draw = np.random.default_rng(0)
    major, minor = draw.integers(0, largest, 200, endpoint=True), draw.integers(0, 3, 200)
    assert order_by(major, minor).tolist() == np.lexsort((minor, major)).tolist()
    assert order_by(minor, major).tolist() == np.lexsort((major, minor)).tolist()
    assert order_by(major[:0], minor[:0]).tolist() == []


@pytest.mark.parametrize("times", ["drawn", "ascending", "zeros of both signs", None])
def test_events_are_ordered_by_user_time_and_index(times: str | None, block: int) -> None:
    draw = np.random.default_rng(1)
    user, time = draw.integers(0, 9, 300), draw.integers(-5, 20, 300).astype(np.float64)
    if times == "ascending":
        time.sort()
    if times == "zeros of both signs":
        time = np.where(draw.random(300) < 0.5, -0.0, 0.0)
    expected = np.argsort(user, kind="stable") if times is None else np.lexsort((time, user))
    assert time_order(user, None if times is None else time).tolist() == expected.tolist()


def test_neighbors_are_compared_across_blocks(block: int) -> None:
    values = np.array([1, 1, 2, 3, 3, 3, 9, 9])
    assert changes(values) == 3 and is_ascending(values)
    assert not is_ascending(values[::-1]) and changes(values[:1]) == changes(values[:0]) == 0


@pytest.mark.parametrize("kind", ["timed", "own histories"])
@pytest.mark.parametrize("by", ["time", "last", "random"])
def test_blocks_change_no_history_no_finding_and_no_count(
    random_events: Events, monkeypatch: pytest.MonkeyPatch, kind: str, by: str
) -> None:
    rows = random_events(3)
    rows = {name: column + column[:40] for name, column in rows.items()}  # with duplicates
    if kind == "own histories":
        draw = np.random.default_rng(0)
        rows["history"] = [draw.choice(rows["item"], draw.integers(0, 4)).tolist() for _ in rows["user"]]
        rows["history"][300:] = rows["history"][:40]

    def made() -> tuple[PreparedData, list[Any]]:
        section = DataSection(source="files", split=SplitSection(by=by))
        data = prepare(RawTables(Dataset.from_dict(rows), origin="events"), Wanted(), section, 13)
        return data, audit(data.interactions, data.histories, section.split)

    whole, findings = made()
    monkeypatch.setattr(ordering, "BLOCK", 16)
    data, same_findings = made()
    assert asdict(data.report) == asdict(whole.report)
    assert same_findings == findings and {"duplicate", "held-out row in training"} & {each.kind for each in findings}
    for row in range(len(data.interactions)):
        one, other = data.histories.before(row), whole.histories.before(row)
        assert all(np.array_equal(*columns, equal_nan=True) for columns in zip(one, other, strict=True))


def test_memory_grows_by_bytes_not_by_objects_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "BLOCK", 1 << 12)
    section = DataSection(source="files", split=SplitSection(by="time"))

    def peak(events: int) -> int:
        draw = np.random.default_rng(0)
        ids = pa.array([f"user-{number:019}" for number in range(events // 10)])
        table = pa.table(
            {
                "user": ids.take(pa.array(draw.integers(0, len(ids), events))),
                "item": pa.array(draw.integers(0, 500, events)),
                "time": pa.array(draw.integers(0, 10**9, events)),
            }
        )
        dataset = Dataset(table, fingerprint="shop")
        tracemalloc.start()
        prepare(RawTables(dataset, origin="events"), Wanted(), section, 13)
        _, largest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return largest

    peak(1_000)  # imports and caches
    assert (peak(200_000) - peak(100_000)) / 100_000 < 110, "bytes an event; a Python integer alone takes 32"

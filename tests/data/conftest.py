"""Builders of small seeded data for the tests of the data layer, and the real data sets where they are available."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables

SHARED = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def random_events() -> Callable[[int], dict[str, list[Any]]]:
    """300 events of 20 users and 30 items at 25 distinct moments: many ties, many repeats."""

    def build(seed: int) -> dict[str, list[Any]]:
        generator = np.random.default_rng(seed)
        return {
            "user": generator.integers(0, 20, 300).tolist(),
            "item": generator.integers(0, 30, 300).tolist(),
            "time": generator.integers(0, 25, 300).tolist(),
            "rating": generator.integers(1, 6, 300).tolist(),
            "u1_test": (generator.random(300) < 0.2).tolist(),
        }

    return build


@pytest.fixture
def prepared() -> Callable[..., PreparedData]:
    """Prepares columns with the settings of a data section."""

    def build(
        rows: dict[str, list[Any]],
        items: dict[str, list[Any]] | None = None,
        label: str | None = None,
        needs: frozenset[str] = frozenset(),
        columns: dict[str, str] | None = None,
        item_text: str | None = None,
        seed: int = 13,
        reads_feedback: bool = False,
        **section: Any,
    ) -> PreparedData:
        catalog = None if items is None else Dataset.from_dict(items)
        raw = RawTables(
            Dataset.from_dict(rows), catalog, columns=columns or {}, item_text=item_text, origin="events.csv"
        )
        return prepare(raw, Wanted(label, needs, reads_feedback), DataSection(source="files", **section), seed)

    return build


@pytest.fixture
def shared_table() -> Callable[[str], Dataset]:
    """A parquet file of the real data next to the checkout; the test is skipped where there is none."""

    def read(name: str) -> Dataset:
        if not (SHARED / name).exists():
            pytest.skip(f"real data not available: shared/data/{name}")
        return Dataset(pq.read_table(SHARED / name))

    return read

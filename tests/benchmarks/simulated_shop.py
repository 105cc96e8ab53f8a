"""A simulated shop of any size: titles, and events in which some items are more popular than others.

lorarec's source `synthetic` has at most 5,000 items; here neither events nor items have a limit, and the data has no
signal: only time and memory are measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

QUALITIES = ("quiet", "bright", "old", "little", "broken", "golden", "hidden", "last", "wild", "northern")
THINGS = ("harbor", "garden", "engine", "river", "mirror", "winter", "letter", "island", "orchard", "signal")
SETTINGS = ("of the valley", "in the rain", "at midnight", "by the sea", "under glass", "beyond the hill")
EVENTS_A_USER = 50
SKEW = 2.0
"""Skew of the popularity: an item's row is a uniform number to this power."""
DAY = 24 * 3600


def write_shop(folder: Path, events: int, items: int, seed: int = 0) -> None:
    """Write interactions.parquet (user, item, time) and items.parquet (item, title) into `folder`."""
    generator = np.random.default_rng(seed)
    users = max(2, events // EVENTS_A_USER)
    chosen = (generator.random(events) ** SKEW * items).astype(np.int64)
    # Every item occurs at least once if there are enough events.
    chosen[: min(items, events)] = np.arange(min(items, events))
    table = pa.table(
        {
            "user": pa.array([f"u{number}" for number in np.arange(events) % users]),
            "item": pa.array([f"i{number}" for number in generator.permutation(chosen)]),
            "time": pa.array(1_700_000_000 + np.sort(generator.integers(0, 365 * DAY, events))),
        }
    )
    pq.write_table(table, folder / "interactions.parquet")
    titles = {"item": [f"i{number}" for number in range(items)], "title": [_title(number) for number in range(items)]}
    pq.write_table(pa.table(titles), folder / "items.parquet")


def _title(number: int) -> str:
    """A title of repeated words, and a number that makes it unique."""
    rest, quality = divmod(number, len(QUALITIES))
    rest, thing = divmod(rest, len(THINGS))
    volume, setting = divmod(rest, len(SETTINGS))
    named = f"The {QUALITIES[quality]} {THINGS[thing]} {SETTINGS[setting]}"
    return f"{named}, volume {volume}" if volume else named

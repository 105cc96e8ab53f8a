"""A made-up shop of any size: titles, and users who turn to some items more than to others.

lorarec's own source `synthetic` ends at 5,000 items; here neither events nor items have a limit, and nothing is to be
learned: only time and memory are looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

QUALITIES = ("quiet", "bright", "old", "little", "broken", "golden", "hidden", "last", "wild", "northern")
THINGS = ("harbour", "garden", "engine", "river", "mirror", "winter", "letter", "island", "orchard", "signal")
PLACES = ("of the valley", "in the rain", "at midnight", "by the sea", "under glass", "beyond the hill")
EVENTS_A_USER = 50
SKEW = 2.0
"""How much more often the first items are chosen: places are uniform numbers to this power."""
DAY = 24 * 3600


def write_shop(folder: Path, events: int, items: int, seed: int = 0) -> None:
    """Write interactions.parquet (user, item, time) and items.parquet (item, title) into `folder`."""
    draw = np.random.default_rng(seed)
    users = max(2, events // EVENTS_A_USER)
    chosen = (draw.random(events) ** SKEW * items).astype(np.int64)
    chosen[: min(items, events)] = np.arange(min(items, events))  # whatever can be met is met at least once
    table = pa.table(
        {
            "user": pa.array([f"u{number}" for number in np.arange(events) % users]),
            "item": pa.array([f"i{number}" for number in draw.permutation(chosen)]),
            "time": pa.array(1_700_000_000 + np.sort(draw.integers(0, 365 * DAY, events))),
        }
    )
    pq.write_table(table, folder / "interactions.parquet")
    titles = {"item": [f"i{number}" for number in range(items)], "title": [_title(number) for number in range(items)]}
    pq.write_table(pa.table(titles), folder / "items.parquet")


def _title(number: int) -> str:
    """Words that repeat, and a number that does not."""
    rest, quality = divmod(number, len(QUALITIES))
    rest, thing = divmod(rest, len(THINGS))
    volume, place = divmod(rest, len(PLACES))
    named = f"The {QUALITIES[quality]} {THINGS[thing]} {PLACES[place]}"
    return f"{named}, volume {volume}" if volume else named

"""A simulated shop of any size: titles, and events in which some items are more popular than others.

lorarec's source `synthetic` has at most 5,000 items; here neither events nor items have a limit, and the data has no
signal: only time and memory are measured.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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


def write_shards(
    folder: Path, events: int, items: int, users: int, shards: int, id_length: int, history: int = 0, seed: int = 0
) -> None:
    """Write `folder`/events/*.parquet (user, item, time, a column that nothing reads, and with `history` lists of so
    many item ids) in the order of time, and items.parquet. `events` counts the elements of histories, if there are any.
    """
    generator = np.random.default_rng(seed)
    (folder / "events").mkdir(parents=True)
    user_ids, item_ids = _ids("u", users, id_length), _ids("i", items, id_length)
    rows = events // (history + 1)
    bounds = np.linspace(0, rows, shards + 1).astype(np.int64)
    for shard, (start, stop) in enumerate(pairwise(bounds.tolist())):
        count = stop - start
        time = 1_600_000_000 + np.sort(
            generator.integers(shard * 30 * DAY // shards, (shard + 1) * 30 * DAY // shards, count)
        )
        columns = {
            "user": user_ids.take(pa.array(generator.integers(0, users, count))),
            "item": item_ids.take(_popular(generator, items, count)),
            "time": pa.array(time),
            "note": pa.array(["nothing reads this column"]).take(pa.array(np.zeros(count, np.int64))),
        }
        if history:
            offsets = pa.array(np.arange(count + 1, dtype=np.int32) * history)
            flat = item_ids.take(_popular(generator, items, count * history))
            columns["history"] = pa.ListArray.from_arrays(offsets, flat)
        pq.write_table(pa.table(columns), folder / "events" / f"part-{shard:04}.parquet")
    titles = pa.array([_title(number) for number in range(items)])
    pq.write_table(pa.table({"item": item_ids, "title": titles}), folder / "items.parquet")


def _popular(generator: np.random.Generator, items: int, count: int) -> pa.Array:
    """Rows of items, of which the first are the most popular."""
    return pa.array((generator.random(count) ** SKEW * items).astype(np.int64))


def _ids(letter: str, count: int, length: int) -> pa.Array:
    """`count` ids of `length` characters."""
    digits = pc.utf8_lpad(pa.array(np.arange(count)).cast(pa.string()), length - 1, "0")
    return pc.binary_join_element_wise(letter, digits, "")


def _title(number: int) -> str:
    """A title of repeated words, and a number that makes it unique."""
    rest, quality = divmod(number, len(QUALITIES))
    rest, thing = divmod(rest, len(THINGS))
    volume, setting = divmod(rest, len(SETTINGS))
    named = f"The {QUALITIES[quality]} {THINGS[thing]} {SETTINGS[setting]}"
    return f"{named}, volume {volume}" if volume else named

"""Items known by a title: name and year told apart, and columns of another table joined by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from lorarec.contracts import DataError, did_you_mean, read_table
from lorarec_sources.found import existing_file
from lorarec_sources.movie_titles import spoken


def titled_items(id_column: str, ids: Sequence[Any], titles: Sequence[str], beside: str | None) -> Dataset:
    """Columns: the id; title; name and year, where a title ends with its year, as MovieLens's do; and those of the
    parquet file `beside`, by its column `title`: null where it lacks a title, its first row where it has it twice.

    Raises DataError where the file has no such column, or none of the titles.
    """
    parts = [spoken(title) for title in titles]
    table = pa.table(
        {
            id_column: pa.array(ids),
            "title": pa.array(titles, pa.string()),
            "name": pa.array([part.name for part in parts], pa.string()),
            "year": pa.array([part.year for part in parts], pa.int64()),
        }
    )
    return Dataset(table if beside is None else _joined(table, existing_file(beside)))


def _joined(table: pa.Table, path: Path) -> pa.Table:
    other = read_table(path)
    if "title" not in other.column_names:
        hint = did_you_mean("title", other.column_names)
        raise DataError(f"{path}: no column 'title'.{hint} There are: {', '.join(other.column_names)}.")
    rows: dict[str, int] = {}
    for row, title in enumerate(other.data.column("title").to_pylist()):
        rows.setdefault((title or "").strip(), row)
    places = [rows.get(title) for title in table.column("title").to_pylist()]
    if all(place is None for place in places):
        first = table.column("title")[0].as_py()
        raise DataError(f"{path}: none of the items is in its column 'title', such as {first!r}. Is it the right file?")
    for name in other.column_names:
        if name not in table.column_names:
            values = other.data.column(name).combine_chunks()
            table = table.append_column(name, values.take(pa.array(places, pa.int64())))
    return table

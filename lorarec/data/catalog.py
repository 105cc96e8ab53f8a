"""Catalog: item id <-> row <-> text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset


class Catalog:
    """N items. Row n of `table` has the columns `item` (original id, string), `title` and `text`, on disk
    (Arrow)."""

    def __init__(self, table: Dataset) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> list[str]:
        """[N] original ids, as strings."""
        return list(self.table.data.column("item").to_pylist())

    @cached_property
    def rows(self) -> dict[str, int]:
        """Original id -> row."""
        return {item: row for row, item in enumerate(self.ids)}

    def texts(self, rows: Iterable[int] | None = None) -> list[str]:
        """What an encoder reads of these rows (all by default)."""
        return self._strings("text", rows)

    def titles(self, rows: Iterable[int] | None = None) -> list[str]:
        """What a person reads of these rows (all by default)."""
        return self._strings("title", rows)

    def _strings(self, column: str, rows: Iterable[int] | None) -> list[str]:
        data = self.table.data.column(column)
        if rows is not None:
            data = data.take(np.fromiter(rows, np.int64))
        return list(data.to_pylist())

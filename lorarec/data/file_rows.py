"""The rows of a table as its files number them: by these numbers, messages name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np


@dataclass(frozen=True)
class Rows:
    """The n rows of a table, where they are not all rows of one file in its order."""

    indices: np.ndarray | None = None
    """[n] int64 the index of each among the rows of all files, where rows were left out; None where it is its own."""
    files: Sequence[tuple[str, int | Callable[[], int]]] = ()
    """Where a table has several files, or parts, the path or name of each and its number of rows, or what counts them:
    only a message needs it."""

    def __getitem__(self, chosen: np.ndarray) -> Rows:
        """The rows with these indices, which may repeat."""
        return Rows(chosen if self.indices is None else self.indices[chosen], self.files)

    def name(self, index: int) -> str:
        """The number of a row from 1, such as "17", or "17 of may.csv" where there are several files."""
        row = index if self.indices is None else int(self.indices[index])
        for path, count in self.files:
            rows = count if isinstance(count, int) else count()
            if row < rows:
                return f"{row + 1} of {self._short(path)}"
            row -= rows
        return str(row + 1)

    def _short(self, path: str) -> str:
        """The file's name, or its path where another file has the same name."""
        name = PurePath(path).name
        return name if sum(PurePath(other).name == name for other, _ in self.files) == 1 else path


def row_of(index: int, rows: Rows | None) -> str:
    """The number, from 1, of a table's row in its file, and which file it is where there are several; `rows` [n] say
    so where the index alone does not."""
    return str(index + 1) if rows is None else rows.name(index)

"""RequestFormat: how requests to a run may be written, by the data that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorarec.config.strict import did_you_mean
from lorarec.data.columns import HISTORY, HISTORY_FEEDBACK, ITEM, USER, missing_column
from lorarec.data.open_files import DETECT, ReadOptions, format_of, has_mark, is_utf8, open_text, read_errors
from lorarec.errors import DataError
from lorarec.inference.arguments import columns_of

READ = (ITEM, USER, HISTORY, HISTORY_FEEDBACK)
"""lorarec's names of the columns of requests."""


@dataclass(frozen=True)
class RequestFormat:
    """What requests have in common with the training data."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """lorarec's name of a column -> the one in the training data, which requests may use as well."""
    options: ReadOptions = DETECT
    """What was set for files of the training data; only `sep`, `encoding` and `decimal` count."""
    item_id: str | None = None
    """The item table's column of ids: that of the items in a table of requests that calls no other one so."""

    missing: Sequence[str] = ()
    """Words that stand for missing feedback (`data.missing_values`)."""

    def names(self, available: Sequence[str]) -> dict[str, str]:
        """lorarec's name -> the one in a table of requests: that of the training data, where the table has it."""
        own = {name: self.columns.get(name, name) for name in READ}
        names = {name: other if other in available else name for name, other in own.items()}
        if names[ITEM] not in available and self.item_id is not None and self.item_id in available:
            names[ITEM] = self.item_id
        return names

    def near(self, name: str, available: Sequence[str]) -> str:
        """Of the names of a column that requests lack, the one of which a table has a similar one; lorarec's else."""
        return next((other for other in self._accepted(name) if did_you_mean(other, available)), name)

    def lacking(self, name: str, available: Sequence[str], origin: str, detail: str = "") -> DataError:
        """The error for a table of requests without a column, with its names, of which it may have any; `detail` is for
        a table without a similar one."""
        near = self.near(name, available)
        others = [f"'{other}'" for other in self._accepted(name) if other != near]
        also = f" or {' or '.join(others)} (the training data's names are read as well)" if others else ""
        return missing_column(near, available, origin, also + ("" if did_you_mean(near, available) else detail))

    def _accepted(self, name: str) -> list[str]:
        """The names that a column may have: lorarec's, and that of the training data."""
        own = [self.columns.get(name), self.item_id if name == ITEM else None]
        return list(dict.fromkeys([name, *(other for other in own if other is not None)]))

    def named(self, table: Any) -> Any:
        """A table of requests with lorarec's names as well; anything else as it is."""
        columns = columns_of(table) if self.columns or self.item_id else None
        if columns is None:
            return table
        return {**columns, **{name: columns[own] for name, own in self.names(list(columns)).items() if own in columns}}

    def options_for(self, path: Path) -> ReadOptions:
        """How a file of requests is read: by the training data's encoding where it is not UTF-8, and by its separator
        where that is in line 1; otherwise detected."""
        if format_of(path) == "parquet":
            return DETECT
        given = self.options
        encoding = None if given.encoding is None or has_mark(path) or is_utf8(path) else given.encoding
        sep = given.sep
        if sep is not None and format_of(path) in ("csv", "tsv"):
            with read_errors(path), open_text(path, encoding or "utf-8", errors="replace") as file:
                sep = sep if sep in file.readline(1 << 16) else None
        return ReadOptions(sep=sep if format_of(path) in ("csv", "tsv") else None, encoding=encoding)


USUAL = RequestFormat()
"""Requests with lorarec's own names, in files whose form is detected."""

"""ParquetTable: parquet files as one table that stays in them. A column is read when it is used, others never."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.data.parquet_files import damaged, parquet_schema, storable
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


class ParquetTable:
    """Files of the same columns, one after the other, with the methods of `datasets.Dataset` that interactions need.

    Raises DataError naming the file that cannot be read, changes meanwhile, or has other columns than the first.
    """

    def __init__(self, paths: Sequence[Path], added: Mapping[str, Sequence[str]] | None = None) -> None:
        """`added`: for each column that the files lack, the text that all rows of a file have, file by file."""
        self._schema = parquet_schema(paths)
        self._files = [_File(path) for path in paths]
        self._added = dict(added or {})
        for name in self._added:
            self._schema = self._schema.append(pa.field(name, pa.string()))
        self._rows: np.ndarray | None = None

    def __len__(self) -> int:
        return sum(file.rows for file in self._files) if self._rows is None else len(self._rows)

    @property
    def num_rows(self) -> int:
        """The number of rows, as of an Arrow table."""
        return len(self)

    @property
    def column_names(self) -> list[str]:
        """The columns' names."""
        return list(self._schema.names)

    def column(self, name: str, ids: bool = False) -> pa.ChunkedArray:
        """[n] a column, read from all files. With `ids`, texts come dictionary-encoded, with a dictionary for each row
        group: four bytes a row, and the distinct ones."""
        kind = self._schema.field(name).type
        if name in self._added:
            texts = zip(self._added[name], self._files, strict=True)
            chunks = [pa.repeat(pa.scalar(text, kind), file.rows) for text, file in texts]
        else:
            encoded = ids and all(file.schema.field(name).type == kind for file in self._files)
            chunks = [chunk for file in self._files for chunk in file.chunks(name, kind, encoded)]
        whole = pa.chunked_array(chunks) if chunks else pa.chunked_array([], kind)
        return whole if self._rows is None else whole.take(self._rows)

    @classmethod
    def of_parts(cls, parts: Sequence[ParquetTable], name: str, texts: Sequence[str]) -> ParquetTable:
        """The tables, one after the other, with a column `name` of one text for each."""
        paths = [[file.path for file in part._files] for part in parts]
        of_file = [text for text, each in zip(texts, paths, strict=True) for _ in each]
        return cls([path for each in paths for path in each], {name: of_file})

    def dataset(self) -> Dataset:
        """All columns, in memory."""
        from datasets import Dataset

        return Dataset(pa.table({name: self.column(name) for name in self.column_names}))

    def select(self, rows: np.ndarray) -> Self:
        """The table of these rows [n], which may repeat."""
        other = self._copy()
        other._rows = rows if self._rows is None else self._rows[rows]
        return other

    def remove_columns(self, names: Sequence[str]) -> Self:
        """The table without these columns."""
        other = self._copy()
        other._schema = pa.schema([field for field in self._schema if field.name not in names])
        return other

    def _copy(self) -> Self:
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        return other


class _File:
    """One file, as it was when it was first opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable(path):
            self._stamp = _stamp(path)
            with pq.ParquetFile(path) as file:
                self.rows: int = file.metadata.num_rows
                self.schema: pa.Schema = file.schema_arrow
                columns = [file.schema.column(index) for index in range(len(file.schema))]
        self._texts = [column.path for column in columns if column.logical_type.type == "STRING"]

    def chunks(self, name: str, kind: pa.DataType, encoded: bool) -> Iterator[pa.Array]:
        """A column's row groups, with texts dictionary-encoded, or in the type `kind`."""
        with _readable(self.path), pq.ParquetFile(self.path, read_dictionary=self._texts if encoded else None) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=[name]).column(name)
                yield from (column if encoded else storable(column, column.type).cast(kind)).chunks
        if _stamp(self.path) != self._stamp:
            raise DataError(f"{self.path}: changed while being read. Run the command again.")


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error

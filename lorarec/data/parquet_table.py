"""ParquetTable: parquet files as one table that stays in them. A column is read when it is used, others never."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lorarec.data.columns import is_list
from lorarec.data.ids import WIDE, refuse_rounded
from lorarec.data.numbers import is_text
from lorarec.data.parquet_files import damaged, in_common_type, parquet_schema, storable
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


GROUP = 1 << 28
"""Bytes of texts that are encoded at a time."""


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
    def schema(self) -> pa.Schema:
        """The columns' names and types, as of an Arrow table."""
        return self._schema

    @property
    def column_names(self) -> list[str]:
        """The columns' names."""
        return list(self._schema.names)

    def column(self, name: str, ids: bool = False) -> pa.ChunkedArray:
        """[n] a column, read from all files. With `ids`, texts come dictionary-encoded, also within lists: four bytes a
        row, and the distinct ones."""
        kind = self._schema.field(name).type
        if name in self._added:
            texts = zip(self._added[name], self._files, strict=True)
            chunks = [pa.repeat(pa.scalar(text, kind), file.rows) for text, file in texts]
        else:
            read = (chunk for file in self._files for chunk in file.chunks(name, kind, ids))
            chunks = list(encoded_chunks(read) if ids and _holds_text(kind) else read)
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
            self._stamp = stamp(path)
            with pq.ParquetFile(path) as file:
                self.rows: int = file.metadata.num_rows

    def chunks(self, name: str, kind: pa.DataType, ids: bool = False) -> Iterator[pa.Array]:
        """A column's row groups, in the type `kind` of all files. `ids`: raise DataError for low-precision floats that
        were rounded, which a wider type would hide."""
        with _readable(self.path), pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=[name]).column(name)
                plain = storable(column, column.type)
                if ids and plain.type != kind and pa.types.is_floating(plain.type):
                    refuse_rounded(plain, f"{self.path}, column '{name}', row group {group + 1}")
                yield from in_common_type(plain, kind, self.path, name).chunks
        if stamp(self.path) != self._stamp:
            raise DataError(f"{self.path}: changed while being read. Run the command again.")


def _holds_text(kind: pa.DataType) -> bool:
    return is_text(kind.value_type if is_list(kind) else kind)


def encoded_chunks(chunks: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """Texts, or lists of them, dictionary-encoded with one dictionary for all chunks; a GROUP at a time, so that never
    all texts are in memory."""
    words: pa.Array | None = None
    groups: list[tuple[Any, pa.Array]] = []
    for group in _groups(chunks):
        lists = group if is_list(group.type) else None
        fresh = (group if lists is None else group.values).dictionary_encode()
        codes, words = _with_known(fresh, words)
        shell = None if lists is None else (type(lists), lists.offsets, lists.is_null() if lists.null_count else None)
        groups.append((shell, codes))
    for shell, codes in groups:
        encoded = pa.DictionaryArray.from_arrays(codes, words)
        yield encoded if shell is None else shell[0].from_arrays(shell[1], encoded, mask=shell[2])


def _with_known(fresh: pa.DictionaryArray, known: pa.Array | None) -> tuple[pa.Array, pa.Array]:
    """The codes of `fresh` among the known words and its own, and these words: the known ones first."""
    words = fresh.dictionary
    if known is None:
        return fresh.indices, words
    if words.type == pa.string() and known.nbytes + words.nbytes > WIDE:
        known, words = known.cast(pa.large_string()), words.cast(pa.large_string())
    words = words.cast(known.type)
    parts = [(pa.array([], pa.int32()), known), (fresh.indices, words)]
    both = pa.chunked_array([pa.DictionaryArray.from_arrays(*part) for part in parts]).unify_dictionaries()
    return both.chunk(1).indices, both.chunk(1).dictionary


def _groups(chunks: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """The chunks, joined to arrays of about GROUP bytes."""
    group, size = list[pa.Array](), 0
    for chunk in chunks:
        group.append(chunk)
        size += chunk.nbytes
        if size >= GROUP:
            yield pa.concat_arrays(group)
            group, size = [], 0
    if group:
        yield pa.concat_arrays(group)


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written again: inode, size and time."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error

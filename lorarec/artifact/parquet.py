"""Parquet files of a run folder, which a stranger may have written: read within bounds that follow from their size."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_BYTE = 4
"""More rows than this for each byte of the file are refused: rows differ, so they take space."""
SMALLEST, LARGEST_RATIO = 2**26, 100
"""A table may take this many bytes of memory, or this many times those of its file."""
SNAPPY = 22
"""Bytes that Snappy unpacks from one, at most."""
AT_ONCE = 2**31
"""Bytes that a batch of rows may take, if all of its values are the longest ones that the file can hold."""


def read_parquet(path: Path) -> pa.Table:
    """The table, without the metadata of columns. Raises ValueError if it is damaged, or grows beyond the bounds."""
    try:
        with pq.ParquetFile(path) as file:
            bytes_of_file = path.stat().st_size
            most = max(SMALLEST, LARGEST_RATIO * bytes_of_file)
            longest = _check_sizes(file.metadata, bytes_of_file, most)
            batches, size = [], 0
            for batch in file.iter_batches(max(32, min(1024, AT_ONCE // longest)), use_threads=False):
                batches.append(batch)
                size += batch.nbytes
                if size > most:
                    raise ValueError(f"its values take more than {most:,} bytes of memory")
            return pa.Table.from_batches(batches, file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).splitlines()[0][:200]) from error


def _check_sizes(metadata: pq.FileMetaData, bytes_of_file: int, most: int) -> int:
    """Raises ValueError if the file claims to hold more than fits; returns the bytes of the longest value possible."""
    if metadata.num_rows > ROWS_PER_BYTE * bytes_of_file:
        raise ValueError(f"it claims {metadata.num_rows:,} rows in {bytes_of_file:,} bytes")
    longest = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            chunk = group.column(index)
            if chunk.compression not in ("SNAPPY", "UNCOMPRESSED"):
                raise ValueError(f"it is compressed as {chunk.compression}, which lorarec does not write")
            if max(chunk.total_uncompressed_size, chunk.num_values) > most:
                raise ValueError(f"column '{chunk.path_in_schema[:100]}' claims {chunk.num_values:,} values")
            if chunk.dictionary_page_offset:
                longest = max(longest, SNAPPY * (chunk.data_page_offset - chunk.dictionary_page_offset))
    return longest

"""Turn a file into an Arrow file once, and map it into memory from then on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 2
"""Raise it when a reader changes what it makes of the same bytes."""


def cache_folder() -> Path:
    """Where converted and downloaded files are kept: `lorarec` in the cache of Hugging Face Datasets."""
    import datasets  # slow, and `lorarec --help` does without

    return Path(datasets.config.HF_DATASETS_CACHE) / "lorarec"


def cached_table(sources: Sequence[Path], options: Sequence[object], read: Callable[[], Iterator[pa.Table]]) -> Dataset:
    """The tables that `read` yields, as one memory-mapped Dataset.

    They are written to the cache under a name made from the sources' paths, sizes and times of change and
    from `options`, and read from there the next time. All tables must have one schema. Larger than memory is
    fine as long as each table fits. Written aside and renamed, so several processes may do this at once.
    Raises DataError where the disk is full.
    """
    target = cache_folder() / "tables" / f"{_fingerprint(sources, options)}.arrow"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            _write(part, read())
            os.replace(part, target)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DataError(
                f"{sources[0]}: the disk is full: no room for a copy in {target.parent}. Make room, or "
                "set the environment variable HF_DATASETS_CACHE to a folder on another disk."
            ) from error
        finally:
            part.unlink(missing_ok=True)
    from datasets import Dataset

    return Dataset.from_file(str(target))


def _fingerprint(sources: Sequence[Path], options: Sequence[object]) -> str:
    facts: list[object] = [FORMAT, [str(option) for option in options]]
    for source in sources:
        stat = source.stat()
        facts.append([str(source.resolve()), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _write(part: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)

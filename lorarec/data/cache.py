"""Cache: files that are computed from others and can be computed again.

An entry is named by a hash of all that it depends on and ends with its own checksum. One that was cut or changed is
never read, but computed again; where nothing can be written, entries stay in memory.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import mmap
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import psutil
import pyarrow as pa

from lorarec.disk import atomic_write, remove_left
from lorarec.errors import ArtifactError, LorarecError

_log = logging.getLogger(__name__)
_CHECKSUM = hashlib.sha256().digest_size
_BLOCK = 1 << 20
_SHARE = 0.5
"""Share of the free memory that an entry may take where it cannot be written."""


class Cached(NamedTuple):
    """The content of an entry."""

    content: pa.Buffer
    """Mapped from the file, copy-on-write; or in memory if the cache cannot be written."""
    file: Path | None
    """None if it is in memory."""


def cache_folder() -> Path:
    """The folder of converted and downloaded files: `lorarec` in the cache of Hugging Face Datasets."""
    import datasets  # slow, and `lorarec --help` does without

    return Path(datasets.config.HF_DATASETS_CACHE) / "lorarec"


def cached(kind: str, key: str, write: Callable[[pa.NativeFile], None], size: int = 0) -> Cached:
    """The bytes that `write` writes: computed once, then read from the file `key` in the folder `kind` of the cache.

    `key` is a hash of all that the bytes depend on, `size` their number, where it is known. The whole file is read and
    its checksum compared each time, at more than 1 GB/s. Several processes may do this at once. A folder that cannot be
    written, or a full disk, is said once. Raises LorarecError if they do not fit in memory either.
    """
    file = cache_folder() / kind / key
    content = read_cached(file)
    if content is None:
        content = _written(file, write, size)
    if content is not None:
        return Cached(content, file)
    if size > psutil.virtual_memory().available * _SHARE:
        raise LorarecError(f"{size / 2**20:,.0f} MiB fit neither into the cache folder {cache_folder()} nor in memory.")
    sink = pa.BufferOutputStream()
    write(sink)
    return Cached(sink.getvalue(), None)


def read_cached(file: Path) -> pa.Buffer | None:
    """The content of an entry, mapped; None if there is none, or if it is not what was written."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2) - _CHECKSUM
            stream.seek(0)
            if size >= 0 and _digest(stream, size) == stream.read():
                # Copy-on-write, since torch takes no read-only arrays; nothing is ever written to them.
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
                return pa.py_buffer(memoryview(mapped)[:size])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _log.warning("%s cannot be read (%s): it is computed again.", file, error.strerror)
        return None
    _log.warning("%s is cut or changed: its checksum differs. It is computed again.", file)
    return None


def _written(file: Path, write: Callable[[pa.NativeFile], None], size: int) -> pa.Buffer | None:
    """The content of a new entry; None if it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        remove_left(file.parent)
        with atomic_write(file) as partial:
            with pa.OSFile(str(partial), "wb") as sink:
                write(sink)
            with partial.open("rb+") as stream:
                stream.write(_digest(stream, stream.seek(0, 2)))
    except (ArtifactError, OSError) as error:
        cause = error.__cause__ or error
        _say_uncached(cache_folder(), getattr(cause, "strerror", None) or str(cause))
        return None
    return read_cached(file)


def _digest(stream: BinaryIO, size: int) -> bytes:
    """SHA-256 of the first `size` bytes; the stream is then at their end."""
    digest = hashlib.sha256()
    stream.seek(0)
    for start in range(0, size, _BLOCK):
        digest.update(stream.read(min(_BLOCK, size - start)))
    return digest.digest()


@cache
def _say_uncached(folder: Path, reason: str) -> None:
    _log.warning(
        "The cache folder %s cannot be written, so nothing is cached and the next command computes it again: %s. Set "
        "the environment variable HF_DATASETS_CACHE to a folder that can be written, on a disk with room.",
        folder, reason,
    )  # fmt: skip

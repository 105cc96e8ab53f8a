"""Files that a stranger may have written: no link is followed, and sizes are bounded before anything is read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

MOST_FILES = 10_000
"""Files that a folder may hold."""
DEEPEST = 8
"""Folders that may be inside each other."""
MOST_TEXT = 2**24
"""Bytes of a text or JSON file."""


MOST_RECIPE = 2**18
"""Bytes of a run's recipe."""


class UntrustedError(ValueError):
    """Why a file or folder is not read, without its name: the caller knows what it is, and what to do."""


def plain_files(folder: Path, reads: Callable[[str], bool]) -> list[str]:
    """The paths, relative to `folder` and with slashes, of all files in it and below; of its own entries, only of those
    that `reads` accepts by name.

    `folder` itself may be a link. Raises UntrustedError for a link, a device, pipe or socket in it, for more than
    MOST_FILES files, and for folders nested more than DEEPEST deep.
    """
    found: list[str] = []
    for name in _below(folder, "", reads):
        found.append(name)
        if len(found) > MOST_FILES:
            raise UntrustedError(f"it holds more than {MOST_FILES:,} files")
    return sorted(found)


def _below(folder: Path, prefix: str, reads: Callable[[str], bool]) -> Iterator[str]:
    if prefix.count("/") > DEEPEST:
        raise UntrustedError(f"its folders are nested more than {DEEPEST} deep")
    with os.scandir(folder) as entries:
        for entry in entries:
            if not prefix and not reads(entry.name):
                continue
            if entry.is_symlink():
                raise UntrustedError(f"{prefix + entry.name!r} is a link, and links in it are not followed")
            if entry.is_dir(follow_symlinks=False):
                yield from _below(folder / entry.name, f"{prefix}{entry.name}/", reads)
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name
            else:
                raise UntrustedError(f"{prefix + entry.name!r} is neither a file nor a folder")


def is_inside(name: str) -> bool:
    """Whether a name that a file gives is that of a file below its folder, in plain form: no `..`, no backslash."""
    parts = PurePosixPath(name).parts
    return name == "/".join(parts) and bool(parts) and not {"..", "/"} & set(parts) and not set("\\\0:") & set(name)


def read_text(file: Path, most: int = MOST_TEXT) -> str:
    """A UTF-8 text of at most `most` bytes. Raises UntrustedError if it is longer or no such text, or no plain file,
    and OSError if it cannot be opened."""
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UntrustedError("it is not a plain file")
        content = stream.read(most + 1)
    if len(content) > most:
        raise UntrustedError(f"it has more than {most:,} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UntrustedError(f"byte {error.start} is not UTF-8 text") from None


def read_json(file: Path, most: int = MOST_TEXT) -> Any:
    """The value in a JSON file. Raises UntrustedError as `read_text`, and if it is not JSON or nested too deeply."""
    text = read_text(file, most)
    try:
        return json.loads(text)
    except RecursionError:
        raise UntrustedError("its values are nested too deeply") from None
    except ValueError as error:
        raise UntrustedError(f"it is not JSON ({error})") from None

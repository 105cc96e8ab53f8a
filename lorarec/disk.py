"""Writing to disk: a file or folder is complete or absent whenever the process or the machine stops, and one process
writes it at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lorarec.errors import FULL, ArtifactError, LorarecError

_PREFIX = 220
"""Bytes of the target's name in the name of a temporary folder or lock: names are limited to 255 bytes."""
_REASONS = {
    **dict.fromkeys(
        FULL,
        "The disk is full, or a limit is reached. Free some space and run the command again; a training run continues "
        "from its checkpoint with --resume.",
    ),
    errno.EROFS: "The disk is read-only. Write to another one.",
    errno.EPERM: "Permission is denied. Write to another folder.",
    errno.EACCES: "Permission is denied. Write to another folder, or change the permissions.",
    errno.ENAMETOOLONG: "The name is too long. Choose a shorter one.",
    errno.ENOENT: "Nothing can be created there. Choose another folder.",
    errno.ENOTDIR: "A part of the path is a file. Choose another folder.",
    errno.ELOOP: "A link is in the way. Remove it, or choose another name.",
    errno.ENOTEMPTY: "It was created in the meantime. Remove it, or choose another name.",
}


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which is flushed to the disk and renamed to `target` when the block ends.

    It is in a new folder next to `target` whose name cannot be guessed, so no planted link is followed. If the block
    raises, that folder is removed; what a killed process left is removed by the next writer of `target`. A file is
    replaced; a folder only if it is empty. Files get the mode that the umask gives. Raises ArtifactError naming
    `target` where the disk refuses.
    """
    with refusals(target), temporary_folder(target) as folder:
        mode = folder.stat().st_mode & 0o666
        yield folder / target.name
        _set_modes(folder / target.name, mode)
        move(folder / target.name, target)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """A new folder next to `target`, with a name that cannot be guessed, that is removed when the block ends; what a
    killed process left is removed by the next one."""
    _remove_left(target)
    folder, handle = _new_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def check_target(target: Path) -> None:
    """Raises ArtifactError, before any work is done, if no file or folder of this name can be created."""
    with refusals(target):
        if target.name in ("", "..") or "\0" in str(target):
            raise ArtifactError(f"'{target}' is no name that a file or folder can have. Choose another one.")
        with suppress(FileNotFoundError):
            target.lstat()  # refuses names that are too long, and paths through files
        if target.parts[0].startswith("~"):
            raise ArtifactError(f"'{target}' begins with ~, which your shell did not replace. Write the whole path.")
        nearest = next(parent for parent in target.absolute().parents if os.path.lexists(parent))
        first = nearest / target.absolute().relative_to(nearest).parts[0]  # as far as folders exist
        _remove_left(first)
        probe, handle = _new_folder(first)
        probe.rmdir()
        os.close(handle)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 file by `atomic_write`."""
    with atomic_write(target) as partial:
        partial.write_text(text, encoding="utf-8")


def move(source: Path, target: Path) -> None:
    """Flush a file or folder to the disk, and rename it to `target`, on the same disk."""
    with refusals(target):
        for path in [*source.rglob("*"), source]:
            if not path.is_symlink():
                _flush(path)
        os.replace(source, target)
        _flush(target.parent)


def remove(folder: Path) -> None:
    """Remove a folder, if there is one: renamed first, so that a killed process leaves all of it or none under its
    name."""
    if not folder.exists():
        return
    with refusals(folder), temporary_folder(folder) as temporary:
        os.replace(folder, temporary / folder.name)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of `target`, a hidden file next to it; if the process is killed, the lock is free again. What a
    killed process left is removed.

    Missing parent folders are created, and removed if they are still empty at the end. Raises ArtifactError naming
    `target` and the process that writes it if another one holds the lock.
    """
    from filelock import FileLock, Timeout  # 0.07 s, and reading needs no lock

    path = target.with_name(f".{_start(target)}.lorarec-lock")
    lock, created = FileLock(path, blocking=False), [parent for parent in target.parents if not parent.exists()]
    with refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            owner = path.read_text(encoding="utf-8") if path.exists() else ""
            raise ArtifactError(
                f"{target} is being written by another process{owner}. Wait until it has ended, or choose another name."
            ) from None
    try:
        with refusals(target):
            path.write_text(f" ({os.getpid()} on {socket.gethostname()})", encoding="utf-8")
            _remove_left(target)
        yield  # its errors may be about other files
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # before the release: afterwards it may be another process's
        lock.release()
        with suppress(OSError):  # they are not empty
            for parent in created:
                parent.rmdir()


@contextmanager
def refusals(target: Path) -> Iterator[None]:
    """Turn what the disk refuses in the block into an ArtifactError that names `target` and the reason."""
    try:
        yield
    except LorarecError:
        raise
    except Exception as error:
        # safetensors raises its own error type, which has the number only in its message.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None and not isinstance(error, OSError):
            raise
        code = getattr(error, "errno", None) or int(number[1] if number else 0)
        raise ArtifactError(f"{target} cannot be written. {_REASONS.get(code, f'{error}.')}") from error


def _start(target: Path) -> str:
    return os.fsdecode(os.fsencode(target.name)[:_PREFIX])


def _new_folder(target: Path) -> tuple[Path, int]:
    """A new folder next to `target`, locked by the handle as long as this process lives."""
    while True:
        folder = target.with_name(f".{_start(target)}.{secrets.token_hex(8)}.partial")
        folder.mkdir()
        with suppress(BlockingIOError, FileNotFoundError):  # another writer took it as left
            return folder, _lock_folder(folder)


def _remove_left(target: Path) -> None:
    remove_left(target.parent, re.escape(_start(target)))


def remove_left(folder: Path, start: str = ".+") -> None:
    """Remove what killed processes left in `folder`: the temporary folders of `atomic_write` that no process has
    locked, of targets whose name matches the regular expression `start`."""
    name = re.compile(rf"\.{start}\.[0-9a-f]{{16}}\.partial")
    for left in [folder / each for each in os.listdir(folder) if name.fullmatch(each)]:
        with suppress(OSError):  # locked, a link, or another user's
            handle = _lock_folder(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)


def _lock_folder(folder: Path) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.lstat(folder)):
            raise FileNotFoundError(folder)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _set_modes(written: Path, mode: int) -> None:
    """Give each file the usual mode: some libraries create private ones."""
    for path in [written, *written.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

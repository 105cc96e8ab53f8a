"""A value that one process of a machine computes for all of them. Its arrays are in one file, which each process maps,
so that they are in memory once."""

from __future__ import annotations

import io
import logging
import mmap
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from accelerate import Accelerator
from accelerate.utils import gather_object

from lorarec.data.cache import cache_folder
from lorarec.disk import temporary_folder
from lorarec.errors import LorarecError

ALIGNMENT = 64
"""Arrays start at multiples of so many bytes."""
_UNSHARED = (OSError, pickle.PickleError, TypeError, AttributeError, ImportError)
"""What writing, sending and mapping may raise; objects of plugins may be any."""
_log = logging.getLogger(__name__)
Value = TypeVar("Value")


class _Packed(NamedTuple):
    """A value whose arrays are in a file."""

    content: bytes
    """All but the arrays: a pickle, which goes from process to process and is never on disk."""
    file: Path
    bounds: list[tuple[int, int]]
    """Start and end of each array in the file."""


def computed_once(accelerator: Accelerator, compute: Callable[[], Value]) -> Value:
    """The value of `compute`, which only the first process of each machine calls. It consists of plain objects, numpy
    and Arrow arrays, which all processes map copy-on-write from a file in the cache folder. The file is unlinked
    before this returns, and its space on disk is freed when the processes end.

    A LorarecError of `compute` is raised on every process. Where the file cannot be written or mapped, or an object
    cannot be pickled, a notice says so, and the processes compute the value themselves.
    """
    if accelerator.num_processes == 1:
        return compute()
    values = list[Value]()  # none, or one
    with ExitStack() as files:
        packed = _computed(compute, values, files) if accelerator.is_local_main_process else None
        everyone = gather_object([packed])
        for each in everyone:
            if isinstance(each, LorarecError):
                raise each
        problem = everyone[accelerator.process_index - accelerator.local_process_index]
        if isinstance(problem, _Packed):
            problem = _map(problem, values)
        problems = sorted(filter(None, gather_object([problem])))  # then the file may lose its name
    if problems and accelerator.is_main_process:
        _log.warning("Processes prepare all data themselves, each in its own memory: %s", problems[0])
    return values[0] if values else compute()


def _computed(compute: Callable[[], Value], values: list[Value], files: ExitStack) -> _Packed | LorarecError | str:
    """The value packed, or its error; or why the file cannot be written, and the value is appended to `values`."""
    try:
        value = compute()
    except LorarecError as error:
        error.same_in_all_processes = True
        return error
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _pack(value, files.enter_context(temporary_folder(folder / "processes")) / "arrays")
    except _UNSHARED as error:
        values.append(value)
        return _reason(error, folder)


class _Pickler(pickle.Pickler):
    """Keeps an array that repeats one number as that number."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.size > 1 and not any(value.strides):
            return np.broadcast_to, (value.flat[0], value.shape)
        return NotImplemented


def _pack(value: object, file: Path) -> _Packed:
    """Write the arrays of the value to a new file: memory that several of them share once."""
    content, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(content, protocol=5, buffer_callback=buffers.append).dump(value)
    bounds, starts = [], dict[tuple[int, int], int]()
    with file.open("xb") as stream:
        for each in buffers:
            buffer = pa.py_buffer(each.raw())
            memory = buffer.address, buffer.size
            if memory not in starts:
                starts[memory] = stream.tell()
                stream.write(buffer)
                stream.write(bytes(-buffer.size % ALIGNMENT or ALIGNMENT))  # never an empty file
            bounds.append((starts[memory], starts[memory] + buffer.size))
    return _Packed(content.getvalue(), file, bounds)


def _map(packed: _Packed, values: list[Any]) -> str:
    """Append the value to `values`; why this process cannot map the file, else empty."""
    try:
        with packed.file.open("rb") as stream:
            # Copy-on-write, since torch takes no read-only arrays; nothing is ever written to them.
            arrays = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY))
        values.append(pickle.loads(packed.content, buffers=[arrays[start:stop] for start, stop in packed.bounds]))
    except _UNSHARED as error:
        return _reason(error, packed.file)
    return ""


def _reason(error: Exception, path: Path) -> str:
    if not isinstance(error, OSError):
        return f"they hold what cannot go from process to process ({error})."
    return (
        f"{path}: {error.strerror}. Set the environment variable HF_DATASETS_CACHE to a folder that all processes of a "
        "machine can write, on a disk with room."
    )

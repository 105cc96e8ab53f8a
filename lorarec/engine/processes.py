"""Processes: a check of their number, what the main one does for all, and the signals that stop a run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import psutil
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from lorarec.errors import LorarecError, RecipeError

FLAGS = ("--num_processes", "--num-processes")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check_processes(accelerator: Accelerator, wanted: int | None) -> None:
    """Refuse to run with another number of processes than the launcher or `train.processes` sets.

    On machines without GPUs, `accelerate launch --num_processes 2` starts one process, and `--multi_gpu` starts
    processes that do not communicate: half the data, or two runs in one folder, without a warning.
    Raises RecipeError with the commands that start them.
    """
    running = accelerator.num_processes
    for source, asked in (("train.processes", wanted), *_launched()):
        if asked is not None and asked != running:
            raise RecipeError(
                f"{source} asks for {asked} processes, but {running} {'is' if running == 1 else 'are'} running "
                f"together. "
                f"On GPUs: accelerate launch --multi_gpu --num_processes {asked} -m lorarec train ... "
                f"On CPUs: ACCELERATE_USE_CPU=true torchrun --nproc_per_node {asked} -m lorarec train ..."
            )


def _launched() -> list[tuple[str, int | None]]:
    world = os.environ.get("WORLD_SIZE")
    asked: list[tuple[str, int | None]] = [("the launcher (WORLD_SIZE)", int(world) if world else None)]
    parent = psutil.Process().parent()
    if parent is None:
        return asked
    try:
        words = parent.cmdline()
    except psutil.Error:  # the parent has ended, or belongs to another user
        return asked
    return [*asked, ("accelerate launch --num_processes", _accelerate_processes(words))]


def _accelerate_processes(words: list[str]) -> int | None:
    """The number after --num_processes in an `accelerate launch` command line on one machine, if given."""
    launched = any("accelerate" in word for word in words[:3])  # the script, or the module after python -m
    several_machines = any(word.startswith(("--num_machines", "--num-machines")) for word in words)
    if not launched or several_machines:
        return None
    for index, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in FLAGS:
            number = value or (words[index + 1] if index + 1 < len(words) else "")
            return int(number) if number.isdecimal() else None
    return None


def on_main_process(accelerator: Accelerator, work: Callable[[], object]) -> None:
    """Do work on the main process while the others wait. A LorarecError of it is raised on every process."""
    refusals: list[LorarecError | None] = [None]
    if accelerator.is_main_process:
        try:
            work()
        except LorarecError as error:
            error.same_in_all_processes = True
            refusals = [error]
    if accelerator.num_processes > 1:
        broadcast_object_list(refusals)
    if refusals[0] is not None:
        raise refusals[0]


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the block, as SIGINT does, so that what was begun is cleaned up; unless the
    program handles it itself."""
    if threading.current_thread() is not threading.main_thread() or callable(signal.getsignal(signal.SIGTERM)):
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopSignal:
    """A context in which the first SIGINT or SIGTERM requests a stop, and a second one stops immediately."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread set handlers; elsewhere (a notebook's worker) signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

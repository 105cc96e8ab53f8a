"""Signals that stop a command: SIGINT (Ctrl-C) and SIGTERM end it with one message and the status 130."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
STOPPED = "Stopped at once: nothing was half written. Run it again."
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stop_at_once(number: int = 0, frame: FrameType | None = None) -> NoReturn:
    """End the process: while libraries are imported, an exception would leave them half imported."""
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(INTERRUPTED)


def ignore_signals() -> None:
    """Let nothing interrupt the end of this process, whose status is known."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end_by_signals() -> None:
    """Let both signals end this process at once, unless it ignores them, as under nohup."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop_at_once)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Both signals raise KeyboardInterrupt in the block, so that what was begun is cleaned up; yields those that came.

    While a module is imported, they end the process at once: its library might turn the exception into another one, or
    crash later.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _imports(frame):
            stop_at_once()
        raise KeyboardInterrupt

    handled = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in handled.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, stop)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None

"""Faults of plugins: what third-party code raises becomes one PluginError that names the plugin and the line."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from types import FrameType
from typing import Any

from lorarec.contracts.plugin import GROUP, Plugin
from lorarec.errors import PluginError, described

OWN = "lorarec"
"""The distribution of the built-in plugins; an error that they raise is an error of lorarec."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def real_interrupts() -> Iterator[list[int]]:
    """The signals by which the user or system stops this process while the block runs.

    Code that raises KeyboardInterrupt by itself is distinguished by them from Ctrl-C.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def noted(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler: Any = previous[signal.Signals(number)]
        handler(number, frame)

    for number, handler in previous.items():
        if callable(handler):
            signal.signal(number, noted)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            if callable(handler):
                signal.signal(number, handler)


@contextmanager
def plugin_exits() -> Iterator[None]:
    """Turn an exit or interrupt that a plugin raises in the block, such as sys.exit(0) in a callback, into a
    PluginError: it would end the program as if it had succeeded, or as if the user had stopped it."""
    with real_interrupts() as signals:
        try:
            yield
        except Exception:
            raise
        except BaseException as error:
            if not signals and (fault := fault_of(error)):
                raise fault from error
            raise


def fault_of(error: BaseException) -> PluginError | None:
    """The error to raise instead of one that a third-party plugin raised; None if no plugin did.

    A plugin raised it if its code is nearer to the error than code of lorarec: calls into libraries are its own.
    """
    packages = {
        point.module.partition(".")[0]: point.dist.name
        for point in entry_points(group=GROUP)
        if point.dist is not None and point.dist.name != OWN
    }
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in packages:
            where = f"{frame.f_code.co_filename}:{line}"
            return PluginError(f"{_owner(frame)} of {packages[package]} raised {described(error)} ({where}).")
        if package.startswith(OWN):
            break
    return None


def _owner(frame: FrameType) -> str:
    """The plugin whose method runs in the frame, or its module."""
    owner = frame.f_locals.get("self")
    if not isinstance(owner, Plugin):
        return f"The module {frame.f_globals['__name__']}"
    return f"Plugin '{owner.name}'"

"""Faults of plugins: what third-party code raises becomes one PluginError that names the plugin and the line."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from types import FrameType
from typing import Any

from lorarec.contracts.plugin import GROUP, Plugin
from lorarec.errors import LorarecError, PluginError, TrainingError, described, is_of_the_machine, text_of

OWN = "lorarec"
"""The distribution of the built-in plugins; an error that they raise is an error of lorarec."""
ADVICE = "Its author can say why; LORAREC_TRACEBACK=1 shows the traceback."
_KINDS = {"TaskHead": "head", "DataSource": "source", "TrainingStep": "step"}
"""Contracts whose kind has another name."""
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
def plugin_faults(plugins: Iterable[Plugin | type[Plugin]] = ()) -> Iterator[None]:
    """Raise PluginError for what a third-party plugin raises in the block, naming it with its kind and package.

    An exit or interrupt of its own, such as sys.exit(0) in a callback, would end the program as if it had succeeded or
    as if the user had stopped it. `plugins`: those in use in the block. With third-party ones among them, an error that
    lorarec or a library raises is theirs, too: what they returned is not what their contract says.
    """
    plugins = tuple(plugins)  # read more than once
    with real_interrupts() as signals:
        try:
            yield
        except BaseException as error:
            if signals or is_of_the_machine(error):
                raise
            if fault := blamed(error, plugins):
                raise fault from error
            raise


def blamed(error: BaseException, plugins: Iterable[Plugin | type[Plugin]]) -> LorarecError | None:
    """The error to raise instead of one of the block; None if no plugin is to blame."""
    others = third_party(plugins)
    if isinstance(error, LorarecError):
        message, general = text_of(error), type(error) in (LorarecError, PluginError, TrainingError)
        if not (general and others) or any(each in message for each in others):
            return None
        return type(error)(f"{message} In use: {', '.join(others)}.")
    if fault := fault_of(error, plugins):
        return fault
    if not others or not isinstance(error, Exception):
        return None
    return PluginError(
        f"{_capital(', '.join(others))}: something that was returned is not what the contract says "
        f"({described(error)}). {ADVICE}"
    )


def fault_of(error: BaseException, plugins: Iterable[Plugin | type[Plugin]] = ()) -> PluginError | None:
    """The error to raise instead of one that a third-party plugin raised; None if none did. `plugins`: those in use.

    A plugin raised it if its code is nearer to the error than code of lorarec: calls into libraries are its own.
    """
    packages = _packages()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if packages.get(package, OWN) != OWN:
            where = f"{frame.f_code.co_filename}:{line}"
            return PluginError(
                f"{_owner(frame, packages[package], plugins)} raised {described(error)} ({where}). {ADVICE}"
            )
        if package.startswith(OWN):
            break
    return None


def _owner(frame: FrameType, distribution: str, plugins: Iterable[Plugin | type[Plugin]]) -> str:
    """The plugin whose method runs in the frame; else those of its distribution that are in use, or its module."""
    owner = frame.f_locals.get("self")
    if isinstance(owner, Plugin):
        return _capital(named(owner))
    if used := [each for each in third_party(plugins) if each.endswith(f" of {distribution}")]:
        return _capital(" or ".join(used))
    return f"The module {frame.f_globals['__name__']} of {distribution}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def third_party(plugins: Iterable[Plugin | type[Plugin]]) -> list[str]:
    """Those of the plugins that are not lorarec's own, as `named` names them."""
    return list(dict.fromkeys(named(plugin) for plugin in plugins if _distribution(plugin) != OWN))


def named(plugin: Plugin | type[Plugin]) -> str:
    """A plugin in a message: "metric 'area' of their-package"."""
    cls = plugin if isinstance(plugin, type) else type(plugin)
    contract = next(base for base in cls.__mro__ if Plugin in base.__bases__).__name__
    return f"{_KINDS.get(contract, contract.lower())} '{str(plugin.name)[:100]}' of {_distribution(plugin)}"


def _distribution(plugin: Plugin | type[Plugin]) -> str:
    cls = plugin if isinstance(plugin, type) else type(plugin)
    return _packages().get(cls.__module__.partition(".")[0], OWN)


def _packages() -> dict[str, str]:
    """The distribution that offers plugins of each top-level package."""
    return {
        point.module.partition(".")[0]: point.dist.name for point in entry_points(group=GROUP) if point.dist is not None
    }

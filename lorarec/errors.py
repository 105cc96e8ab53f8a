"""Errors of lorarec: every error that a user can fix is a `LorarecError`.

The command line prints its message without a traceback and exits with 2. A message says what is wrong, where
(file, line or row, field), and what to do. What it quotes may be of any length and have any character: as text, a
message is short and can be printed.
"""

from __future__ import annotations

import copyreg
import errno
import sys
from collections.abc import Sequence
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a full disk."""
ONE = {
    "items": "item", "rows": "row", "users": "user", "events": "event", "numbers": "number", "ids": "id",
    "candidates": "candidate", "are": "is", "have": "has", "get": "gets", "their": "its",
}  # fmt: skip
"""Words of `counted`, in the plural and the singular."""
LONGEST_LINE = 800
LONGEST_MESSAGE = 2_000
"""Characters of an error's text."""


def printable(message: str) -> str:
    """`message` with the middle of long lines left out, as many of its lines as fit, and control characters escaped."""
    lines = [_short(line) for line in message.splitlines()]
    if sum(map(len, lines)) + len(lines) <= LONGEST_MESSAGE:
        return "\n".join(lines)
    shown, length = 0, 0
    while length + len(lines[shown]) <= LONGEST_MESSAGE - 100:
        length += len(lines[shown]) + 1
        shown += 1
    rest = len(lines) - shown
    return "\n".join([*lines[:shown], f"... and {rest:,} more {'line' if rest == 1 else 'lines'}."])


def _short(line: str) -> str:
    line = "".join(each if each.isprintable() else _escaped(each) for each in line)
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2 - 20
    return f"{line[:half]} [{len(line) - 2 * half:,} characters] {line[-half:]}"


def counted(count: int, plural: str) -> str:
    """A count and what is said of so many ("items have no text"), in the singular for 1."""
    said = " ".join(ONE.get(word, word) for word in plural.split(" ")) if count == 1 else plural
    return f"{count:,} {said}"


def described(error: BaseException) -> str:
    """The type and message of an error, in one short line."""
    name, text = type(error).__name__[:100], " ".join(text_of(error).split())
    return f"{name}: {text[:300]}" if text else name


def text_of(error: BaseException) -> str:
    """The message of an error, which may be a plugin's, so that asking for it may itself raise anything."""
    try:
        return str(error)
    except BaseException as another:
        return f"(its message cannot be shown: {type(another).__name__})"


def is_lost(error: BaseException) -> bool:
    """Whether the connection to another process was lost."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return False
    return isinstance(error, distributed.DistError) or "gloo/transport" in text_of(error)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether the cause of an error is neither a file's content nor code: the disk is full, no memory is left, another
    process has ended, or the system refuses a file that it names."""
    refused = isinstance(error, PermissionError) and error.filename is not None
    return is_full(error) or is_out_of_memory(error) or is_lost(error) or refused


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of its accelerator was not enough."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def is_full(error: BaseException) -> bool:
    """Whether a write failed since the disk is full, or a limit of it is reached."""
    # safetensors raises its own error type, which has the cause only in its message.
    text, phrases = text_of(error), ["No space left on device", *(f"os error {number}" for number in FULL)]
    return (isinstance(error, OSError) and error.errno in FULL) or any(phrase in text for phrase in phrases)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class LorarecError(Exception):
    """A mistake the user can fix; the message says how."""

    same_in_all_processes = False
    """Whether every process of the run raises it: the main one prints it."""

    def __str__(self) -> str:
        return printable(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle: `__init__`, which may have other arguments than the message, is not called again."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class RecipeError(LorarecError):
    """The recipe or an override is wrong. Holds all its mistakes, one line each."""

    same_in_all_processes = True

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class PluginError(LorarecError):
    """A plugin is unknown, broken, registered twice, or breaks its contract."""

    same_in_all_processes = True


class IncompatibleError(LorarecError):
    """An adapter, backbone or head cannot work together; raised before any weight is touched."""

    same_in_all_processes = True


class DataError(LorarecError):
    """A file, column, row or label is missing or wrong."""


class TrainingError(LorarecError):
    """Training cannot continue: the loss is not finite, or a weight that should train gets no gradient."""


class CheckpointError(LorarecError):
    """A checkpoint is missing, truncated, tampered with, or belongs to another recipe."""


class ArtifactError(LorarecError):
    """A run folder exists already, is incomplete, or was tampered with."""


class Interrupted(LorarecError):
    """Training was stopped by a signal; the message names the checkpoint. The command line exits with 130."""

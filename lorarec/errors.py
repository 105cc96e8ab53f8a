"""Errors of lorarec: every error that a user can fix is a `LorarecError`.

The command line prints its message without a traceback and exits with 2. A message says what is wrong, where
(file, line or row, field), and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class LorarecError(Exception):
    """A mistake the user can fix; the message says how."""


class RecipeError(LorarecError):
    """The recipe or an override is wrong. Holds all its mistakes, one line each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class PluginError(LorarecError):
    """A plugin is unknown, broken, registered twice, or breaks its contract."""


class IncompatibleError(LorarecError):
    """An adapter, backbone or head cannot work together; raised before any weight is touched."""


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

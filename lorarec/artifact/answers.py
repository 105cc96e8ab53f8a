"""Answers: one item recommended, and the warning of ids that nobody knows."""

from __future__ import annotations

from typing import NamedTuple


class UnknownIdWarning(UserWarning):
    """Ids that the run has never seen were left out; the message names them and says what was done."""


class Recommendation(NamedTuple):
    """One item recommended."""

    item: str
    title: str
    score: float

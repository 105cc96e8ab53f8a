"""Requests in the caller's ids, translated to catalog rows; unknown ids are named in a warning."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lorarec.contracts import Candidates, Catalog, Requests
from lorarec.data.spellings import plain_id
from lorarec.data.users import Users, users_of_requests
from lorarec.errors import DataError, counted, printable

WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(\.0+)?")
"""A whole number, also as a float."""
SHOWN = 60
"""Characters of an unknown id in a warning."""
LONGEST_NUMBER = 20
"""Digits of the longest id that is compared as a number."""


class UnknownIdWarning(UserWarning):
    """Ids that the run has never seen were left out; the message names them and says what was done about them."""


class MissingFeedbackWarning(UserWarning):
    """Histories came without the feedback that the run learned from; the message says how they were read."""


def item_rows(items: Sequence[str], catalog: Catalog) -> np.ndarray:
    """[n] catalog rows of items to score, -1 for unknown ids, which an UnknownIdWarning names."""
    rows = np.array([_row(item, catalog) for item in items], np.int64)
    unknown = [item for item, row in zip(items, rows, strict=True) if row < 0]
    _warn_unknown("items to score", unknown, "get no score", catalog)
    return rows


def _row(item: str, catalog: Catalog) -> int:
    """The catalog row of an id, -1 for an unknown one. A whole number may be written as 5 or 5.0, as columns of floats
    do, whatever else the request holds."""
    row = catalog.rows.get(item)
    if row is None and (number := WHOLE.fullmatch(item)):
        row = catalog.rows.get(number[1] if number[2] else f"{item}.0")
    return -1 if row is None else row


def candidates_of(items: Sequence[str] | None, catalog: Catalog) -> Candidates:
    """The items to choose from; the whole catalog if `items` is None.

    Unknown ids are left out with an UnknownIdWarning. Raises DataError if all ids are unknown.
    """
    if items is None:
        return Candidates(np.arange(len(catalog)), len(catalog))
    rows = np.array([_row(item, catalog) for item in items], np.int64)
    unknown = [item for item, row in zip(items, rows, strict=True) if row < 0]
    _warn_unknown("candidates", unknown, "are left out", catalog)
    if len(unknown) == len(rows):
        raise DataError("None of the candidates is in the run's catalog: there is nothing to recommend.")
    return Candidates(np.unique(rows[rows >= 0]), len(catalog))


def requests_of(
    count: int,
    histories: Sequence[Sequence[str]] | None,
    feedback: Sequence[Sequence[float]] | None,
    users: Sequence[Mapping[str, Any] | None] | None,
    *,
    catalog: Catalog,
    liked_above: float,
    user_columns: tuple[str, ...],
    liked_feedback: float | None = None,
) -> Requests:
    """`count` requests: the histories in catalog rows, the feedback of their items, and the user attributes.

    Unknown items are left out of the histories with an UnknownIdWarning. `liked_above`: feedback above it counts as
    liked; `user_columns`: user columns that the run reads; `liked_feedback`: of a run that learned from feedback, that
    of a liked item, with which histories without any feedback are read, so that they still say something about their
    users; a MissingFeedbackWarning says how many there are. Raises DataError if lengths differ.
    """
    histories = histories if histories is not None else [()] * count
    for name, given in (("histories", histories), ("feedback", feedback), ("users", users)):
        if given is not None and len(given) != count:
            raise DataError(f"There are {count} requests, but {len(given)} {name}. Give one for each request.")
    rows, numbers, unknown = list[list[int]](), list[list[float]](), list[str]()
    for index, history in enumerate(histories):
        values = feedback[index] if feedback is not None else [np.nan] * len(history)
        if len(values) != len(history):
            raise DataError(
                f"Request {index + 1}: {len(history)} items in the history, but {len(values)} values of feedback."
            )
        events = [(_row(item, catalog), float(number)) for item, number in zip(history, values, strict=True)]
        unknown += [item for item, (row, _) in zip(history, events, strict=True) if row < 0]
        rows.append([row for row, _ in events if row >= 0])
        numbers.append([number for row, number in events if row >= 0])
    empty = sum(bool(history) and not row for history, row in zip(histories, rows, strict=True))
    left = f" {empty} of {count} histories are empty without them: their answers are those of a new user."
    _warn_unknown("items in histories", unknown, "are left out of them", catalog, left if empty else "")
    if liked_feedback is not None:
        numbers = _with_feedback(numbers, liked_feedback)
    return Requests.of(rows, numbers, None, liked_above, _users_of(users, count, user_columns))


def _with_feedback(numbers: list[list[float]], liked: float) -> list[list[float]]:
    """The feedback of histories, `liked` in all events of those that have none."""
    lacking = [bool(row) and all(number != number for number in row) for row in numbers]
    if any(lacking):
        message = (
            f"{sum(lacking)} of {len(numbers)} histories come without feedback (history_feedback), from which this run "
            f"has learned: their items are read as liked ({liked:.3g}). With feedback, answers fit users better."
        )
        warnings.warn(message, MissingFeedbackWarning, stacklevel=5)
    return [[liked] * len(row) if lacks else row for row, lacks in zip(numbers, lacking, strict=True)]


def _users_of(
    users: Sequence[Mapping[str, Any] | None] | None, count: int, user_columns: tuple[str, ...]
) -> Users | None:
    """The user attributes that the run reads; empty for a user who is None."""
    if not user_columns:
        return None
    for user in users or ():
        if not (user is None or isinstance(user, Mapping)):
            named = ", ".join(f"'{name}': ..." for name in user_columns)
            raise DataError(
                f"users: {user!r} does not describe a user, and a run stores nothing about the users it was trained "
                f"on. Give the columns of each user, {{{named}}}, or None."
            )
    return users_of_requests([None] * count if users is None else users, user_columns)


def _warn_unknown(what: str, ids: list[str], consequence: str, catalog: Catalog, left: str = "") -> None:
    """`left`: a sentence on what is left without them."""
    names = list(dict.fromkeys(ids))
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        shown = ", ".join(f"{name[:SHOWN]}{'...' * (len(name) > SHOWN)}{_near(name, catalog)}" for name in names[:5])
        message = f"{counted(len(names), f'unknown {what} {consequence}')}: {shown}{more}.{left}"
        warnings.warn(printable(message), UnknownIdWarning, stacklevel=4)


def _near(name: str, catalog: Catalog) -> str:
    """The id of the catalog that is likely meant, if there is one: it differs in capital letters or blanks, or is the
    same number with zeros in front."""
    if other := catalog.spellings.get(plain_id(name)):
        return f" (the run has '{other}': ids are text)"
    name = name.removesuffix(".0")
    padded = (name.zfill(width) for width in range(len(name) + 1, LONGEST_NUMBER + 1)) if name.isdecimal() else ()
    spelled = next((other for other in padded if other in catalog.rows), "")
    return f" (the run has '{spelled}': ids are text)" if spelled else ""

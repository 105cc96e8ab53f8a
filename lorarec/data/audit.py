"""Leakage audit: checks of split data for information about held-out rows that a model could use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lorarec.config.recipe import Seen, SplitSection
from lorarec.data.columns import HISTORY
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.repeated import repeated_line

EXAMPLES = 3
"""Example rows in the message of a finding."""


class Finding(NamedTuple):
    """One kind of leak, and the number of rows it is in."""

    kind: str
    rows: int
    message: str
    """What leaks, in which rows (from 1), and a remedy."""


def audit(interactions: Interactions, histories: Histories, section: SplitSection) -> list[Finding]:
    """Future events in histories, held-out rows that are in training or in its histories, users or items of training
    where the split excludes them, targets that depend on the order of the table, and duplicates; empty if none.
    """
    return [
        Finding(kind, int(rows.sum()), f"{int(rows.sum()):,} {what} ({_named(rows)}). {advice}")
        for kind, rows, what, advice in _checks(interactions, histories, section)
        if rows.any()
    ]


def audit_repeated(repeated: Mapping[str, int], targets: Mapping[str, int], seen: Seen) -> list[Finding]:
    """The targets of each part that no model can reach, since their users had them before and `seen` masks these; empty
    if there are none. `targets`: all rows of each part."""
    line = repeated_line(repeated, targets, seen) if seen == "mask" else ""
    return [Finding("unreachable target", sum(repeated.values()), f"{line}.")] if line else []


def audit_lines(findings: list[Finding]) -> list[str]:
    """The findings, for people to read."""
    lines = [f"{finding.kind}: {finding.message}" for finding in findings]
    return lines or ["no leaks: no future in a history, no duplicate, no overlap, no tie that decides a target"]


_Check = tuple[str, np.ndarray, str, str]
"""Kind, [E] true for the rows concerned, a description of them, a remedy."""


def _checks(interactions: Interactions, histories: Histories, section: SplitSection) -> Iterator[_Check]:
    part = interactions.part
    held_out = part >= Part.VALIDATION
    yield (
        "future in a history", _sees_future(interactions, histories),
        "rows have later events in their history",
        "Set data.history.scope=past and split by time or last, unless the protocol ignores time.",
    )  # fmt: skip
    yield (
        "target in its history", _given_its_target(interactions, histories, held_out),
        "held-out rows have their own item in the history, so that it need only be copied",
        "Remove the item from the history, unless users do choose items again.",
    )  # fmt: skip
    yield (
        "held-out target in a training history", held_out & _read_in_training(interactions),
        "held-out rows have an item that is in the history of a training row of the same user",
        "Split by time or by user: training reads the user's feedback on it.",
    )  # fmt: skip
    twin, again = _repeated(interactions)
    yield (
        "held-out row in training", held_out & twin,
        "rows of validation and test are in training as well",
        "Remove them from one of the two.",
    )  # fmt: skip
    yield from _overlaps(interactions, section)
    yield (
        "tie decides a target", held_out & _tied(interactions) & (section.by != "random"),
        "held-out rows have the same time as another event of their user, so that the order of the table decides which "
        "came first",
        "Give finer times, or mention it with the metrics.",
    )  # fmt: skip
    yield "duplicate", again, "rows repeat another row of their part", "Remove them, unless they are separate events."


def _overlaps(interactions: Interactions, section: SplitSection) -> Iterator[_Check]:
    """Users or items of training among the held-out rows, where `data.split.disjoint` excludes them."""
    part = interactions.part
    _, read = _training_histories(interactions)
    read = np.append(read, interactions.item[_recalled_in_training(interactions)])
    for column, ids, in_histories in (("user", interactions.user, read[:0]), ("item", interactions.item, read)):
        if column in section.disjoint:
            known = np.append(ids[part == Part.TRAIN], in_histories)
            yield (
                f"{column} overlap", (part >= Part.VALIDATION) & np.isin(ids, known),
                f"held-out rows have a {column} of training, which data.split.disjoint excludes",
                "Correct the split, or leave data.split.disjoint out.",
            )  # fmt: skip


def _named(concerned: np.ndarray) -> str:
    rows = (np.flatnonzero(concerned)[:EXAMPLES] + 1).tolist()
    more = ", ..." if concerned.sum() > len(rows) else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}{more}"


def _sees_future(interactions: Interactions, histories: Histories) -> np.ndarray:
    """[E] whether an event in the history is later; histories that are columns of the data have no times."""
    if interactions.time is None or interactions.has(HISTORY):
        return np.zeros(len(interactions), bool)
    latest = histories.largest(interactions.time, np.arange(len(interactions)))
    return np.asarray((latest > interactions.time) & (interactions.part != Part.UNUSED))


def _given_its_target(interactions: Interactions, histories: Histories, held_out: np.ndarray) -> np.ndarray:
    given = np.zeros(len(interactions), bool)
    if interactions.has(HISTORY):
        for event in np.flatnonzero(held_out):
            given[event] = (histories.before(int(event)).items == interactions.item[event]).any()
    return given


def _training_histories(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Users [m] and items [m] of all events of the training rows' own histories."""
    if not interactions.has(HISTORY):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = interactions.rows(Part.TRAIN)
    lists = interactions.table.data.column(HISTORY).take(rows).combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.repeat(interactions.user[rows], lengths), lists.flatten().to_numpy(zero_copy_only=False)


def _recalled_in_training(interactions: Interactions) -> np.ndarray:
    """[n] int64 the events of the training period that are not targets, but may be in histories: disliked ones."""
    use = interactions.use
    if use is None or interactions.has(HISTORY):
        return np.empty(0, np.int64)
    return np.flatnonzero(use.recalled & ~use.target & (use.part == Part.TRAIN))


def _read_in_training(interactions: Interactions) -> np.ndarray:
    """[E] whether the row's item is in the own history of a training row of the same user."""
    user, item = _training_histories(interactions)
    items = max(interactions.item.max(initial=0), item.max(initial=0)) + 1
    return np.isin(interactions.user * items + interactions.item, user * items + item)


def _repeated(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """[E] whether a row equals one of training, and [E] whether it repeats an earlier one of its own part."""
    kinds = _row_kinds(interactions)
    part = interactions.part
    training = np.zeros(int(kinds.max(initial=0)) + 1, bool)
    training[kinds[part == Part.TRAIN]] = True
    again = np.ones(len(kinds), bool)
    again[np.unique(kinds * len(Part) + (part + 1), return_index=True)[1]] = False
    return training[kinds], again & (part != Part.UNUSED)


def _row_kinds(interactions: Interactions) -> np.ndarray:
    """[E] int64, equal for rows of the same user, item and, where the data has them, time, kind and history. The user
    does not count where the data names none (each row is then a user of its own)."""
    nameless = interactions.has(HISTORY) and len(interactions.user_ids) == len(interactions)
    columns = [interactions.item] if nameless else [interactions.user, interactions.item]
    if interactions.time is not None:
        columns.append(interactions.time)
    if interactions.use is not None:
        columns.append(interactions.use.kinds.kind)
    if interactions.has(HISTORY):
        columns.append(_list_numbers(interactions))
    order = np.lexsort(columns)
    is_new = np.zeros(len(order), bool)
    for column in columns:
        is_new[1:] |= column[order][1:] != column[order][:-1]
    kinds = np.empty(len(order), np.int64)
    kinds[order] = np.cumsum(is_new)
    return kinds


def _list_numbers(interactions: Interactions) -> np.ndarray:
    """[E] a number for each distinct history of the rows' own."""
    lists = interactions.table.data.column(HISTORY).combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64))
    numbers: dict[bytes, int] = {}
    starts = np.concatenate(([0], ends[:-1]))
    of_row = [numbers.setdefault(flat[a:b].tobytes(), len(numbers)) for a, b in zip(starts, ends, strict=True)]
    return np.array(of_row, np.int64)


def _tied(interactions: Interactions) -> np.ndarray:
    """[E] whether another event of the row's user has the same time, so that only the order of the table decides
    whether it is in the row's history."""
    use, tied = interactions.use, np.zeros(len(interactions), bool)
    if interactions.time is None or interactions.has(HISTORY) or (use is not None and use.at_once):
        return tied
    order = np.lexsort((interactions.time, interactions.user))
    user, time = interactions.user[order], interactions.time[order]
    group = np.cumsum(np.append(False, (user[1:] != user[:-1]) | (time[1:] != time[:-1])))
    recalled = np.ones(len(order)) if use is None else use.recalled[order].astype(np.float64)
    tied[order] = np.bincount(group, recalled)[group] > recalled
    return tied

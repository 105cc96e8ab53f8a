"""Leakage audit: what a model could know of the rows it is judged on, looked for in the data as they were split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lorarec.config.recipe import SplitSection
from lorarec.data.columns import HISTORY
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part

EXAMPLES = 3
"""Rows that a finding names."""


class Finding(NamedTuple):
    """One kind of leak, in so many rows."""

    kind: str
    rows: int
    message: str
    """What leaks, in which rows (from 1), and what to do."""


def audit(interactions: Interactions, histories: Histories, section: SplitSection) -> list[Finding]:
    """Future events in histories, held-out rows that training has or reads of, users or items that were promised to be
    apart, targets that only the order of the table decided, and rows there twice; empty if there are none.
    """
    return [
        Finding(kind, int(rows.sum()), f"{int(rows.sum()):,} {what} ({_named(rows)}). {advice}")
        for kind, rows, what, advice in _checks(interactions, histories, section)
        if rows.any()
    ]


def audit_lines(findings: list[Finding]) -> list[str]:
    """For people."""
    lines = [f"{finding.kind}: {finding.message}" for finding in findings]
    return lines or ["nothing found: no future in a history, no row twice, no overlap, no tie that decides a target"]


_Check = tuple[str, np.ndarray, str, str]
"""Kind, [E] true for the rows concerned, what they are, what to do."""


def _checks(interactions: Interactions, histories: Histories, section: SplitSection) -> Iterator[_Check]:
    part = interactions.part
    held_out = part >= Part.VALIDATION
    yield (
        "future in a history", _sees_future(interactions, histories),
        "rows look back on events that are later than they are",
        "Set data.history.scope=past and split by time or last, unless the protocol is deaf to time.",
    )  # fmt: skip
    yield (
        "target in its history", _given_its_target(interactions, histories, held_out),
        "held-out rows bring their own item within the history, so that it need only be copied",
        "Remove the item from the history, unless people do take an item again.",
    )  # fmt: skip
    yield (
        "held-out target in a training history", held_out & _read_in_training(interactions),
        "held-out rows ask for an item that a training row of their user brings within its history",
        "Split by time or by user: what the user thought of it is read in training.",
    )  # fmt: skip
    twin, again = _repeated(interactions)
    yield (
        "held-out row in training", held_out & twin,
        "rows of validation and test stand in training as well",
        "Remove them from one of the two.",
    )  # fmt: skip
    yield from _overlaps(interactions, section)
    yield (
        "tie decides a target", held_out & _tied(interactions) & (section.by != "random"),
        "held-out rows have the same time as another event of their user, so that the order of the table decides what "
        "came first",
        "Give finer times, or say so beside the figures.",
    )  # fmt: skip
    yield "duplicate", again, "rows repeat another of their part", "Remove them, unless they are separate events."


def _overlaps(interactions: Interactions, section: SplitSection) -> Iterator[_Check]:
    """Users or items of training among the held-out rows, where `data.split.disjoint` promises none."""
    part = interactions.part
    _, read = _training_histories(interactions)
    read = np.append(read, interactions.item[_recalled_in_training(interactions)])
    for whose, ids, more in (("user", interactions.user, read[:0]), ("item", interactions.item, read)):
        if whose in section.disjoint:
            yield (
                f"{whose} overlap", (part >= Part.VALIDATION) & np.isin(ids, np.append(ids[part == Part.TRAIN], more)),
                f"held-out rows have a {whose} of training, though data.split.disjoint promises otherwise",
                "Correct the split, or leave the promise out.",
            )  # fmt: skip


def _named(concerned: np.ndarray) -> str:
    rows = (np.flatnonzero(concerned)[:EXAMPLES] + 1).tolist()
    more = ", ..." if concerned.sum() > len(rows) else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}{more}"


def _sees_future(interactions: Interactions, histories: Histories) -> np.ndarray:
    """[E] whether an event in the history is later; histories that rows bring have no times."""
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
    """Users [m] and items [m] of all events of the histories that training rows bring."""
    if not interactions.has(HISTORY):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = interactions.rows(Part.TRAIN)
    lists = interactions.table.data.column(HISTORY).take(rows).combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.repeat(interactions.user[rows], lengths), lists.flatten().to_numpy(zero_copy_only=False)


def _recalled_in_training(interactions: Interactions) -> np.ndarray:
    """[n] int64 the events of training's time that are no targets, but may stand in its histories: disliked ones."""
    use = interactions.use
    if use is None or interactions.has(HISTORY):
        return np.empty(0, np.int64)
    return np.flatnonzero(use.recalled & ~use.target & (use.part == Part.TRAIN))


def _read_in_training(interactions: Interactions) -> np.ndarray:
    """[E] whether a training row of the same user brings the row's item within its history."""
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
    """[E] int64, equal for rows of the same user, item and, where the data has them, time, kind and history. Users that
    the data does not name (each row is then one of its own) do not count."""
    nameless = interactions.has(HISTORY) and len(interactions.user_ids) == len(interactions)
    columns = [interactions.item] if nameless else [interactions.user, interactions.item]
    if interactions.time is not None:
        columns.append(interactions.time)
    if interactions.use is not None:
        columns.append(interactions.use.kinds.kind)
    if interactions.has(HISTORY):
        columns.append(_list_numbers(interactions))
    order = np.lexsort(columns)
    fresh = np.zeros(len(order), bool)
    for column in columns:
        fresh[1:] |= column[order][1:] != column[order][:-1]
    kinds = np.empty(len(order), np.int64)
    kinds[order] = np.cumsum(fresh)
    return kinds


def _list_numbers(interactions: Interactions) -> np.ndarray:
    """[E] a number for each distinct history that rows bring."""
    lists = interactions.table.data.column(HISTORY).combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64))
    numbers: dict[bytes, int] = {}
    starts = np.concatenate(([0], ends[:-1]))
    of_row = [numbers.setdefault(flat[a:b].tobytes(), len(numbers)) for a, b in zip(starts, ends, strict=True)]
    return np.array(of_row, np.int64)


def _tied(interactions: Interactions) -> np.ndarray:
    """[E] whether another event of the row's user has the same time, and only the order of the table says whether it
    stands in the row's history."""
    use, tied = interactions.use, np.zeros(len(interactions), bool)
    if interactions.time is None or interactions.has(HISTORY) or (use is not None and use.at_once):
        return tied
    order = np.lexsort((interactions.time, interactions.user))
    user, time = interactions.user[order], interactions.time[order]
    moment = np.cumsum(np.append(False, (user[1:] != user[:-1]) | (time[1:] != time[:-1])))
    recalled = np.ones(len(order)) if use is None else use.recalled[order].astype(np.float64)
    tied[order] = np.bincount(moment, recalled)[moment] > recalled
    return tied

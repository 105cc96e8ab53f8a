"""Leakage audit: checks of split data for information about held-out rows that a model could use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lorarec.config.recipe import Seen, SplitSection
from lorarec.data.columns import HISTORY
from lorarec.data.file_rows import row_of
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.data.ordering import blocks, time_order
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
        Finding(kind, int(rows.sum()), f"{int(rows.sum()):,} {what} ({_named(rows, interactions)}). {advice}")
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
        "held-out target in a training history", _read_in_training(interactions, held_out),
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
    yield (
        "duplicate",
        again,
        "rows repeat another row of their part",
        "data.duplicates=drop removes them, unless they are separate events.",
    )


def _overlaps(interactions: Interactions, section: SplitSection) -> Iterator[_Check]:
    """Users or items of training among the held-out rows, where `data.split.disjoint` excludes them."""
    if not section.disjoint:
        return
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


def _named(concerned: np.ndarray, interactions: Interactions) -> str:
    rows = [row_of(int(index), interactions.rows_in_files) for index in np.flatnonzero(concerned)[:EXAMPLES]]
    more = ", ..." if concerned.sum() > len(rows) else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)}{more}"


def _sees_future(interactions: Interactions, histories: Histories) -> np.ndarray:
    """[E] whether an event in the history is later; histories that are columns of the data have no times."""
    if interactions.time is None or interactions.has(HISTORY):
        return np.zeros(len(interactions), bool)
    time, part = interactions.time, interactions.part
    future = np.zeros(len(interactions), bool)
    for block in blocks(len(interactions)):
        latest = histories.latest_time(time, np.arange(block.start, block.stop))
        future[block] = (latest > time[block]) & (part[block] != Part.UNUSED)
    return future


def _given_its_target(interactions: Interactions, histories: Histories, held_out: np.ndarray) -> np.ndarray:
    given = np.zeros(len(interactions), bool)
    if interactions.has(HISTORY):
        items, offsets = interactions.lists(HISTORY)
        for block in blocks(len(given), 16):
            lengths = np.diff(offsets[block.start : block.stop + 1])
            same = items[offsets[block.start] : offsets[block.stop]] == np.repeat(interactions.item[block], lengths)
            given[block.start + np.repeat(np.arange(len(lengths)), lengths)[same]] = True
    return np.asarray(given & held_out)


def _training_histories(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Users [m] and items [m] of all events of the training rows' own histories."""
    if not interactions.has(HISTORY):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    items, offsets = interactions.lists(HISTORY)
    lengths = np.diff(offsets)
    training = interactions.part == Part.TRAIN
    return np.repeat(interactions.user[training], lengths[training]), items[np.repeat(training, lengths)]


def _recalled_in_training(interactions: Interactions) -> np.ndarray:
    """[n] int64 the events of the training period that are not targets, but may be in histories: disliked ones."""
    use = interactions.use
    if use is None or interactions.has(HISTORY):
        return np.empty(0, np.int64)
    return np.flatnonzero(use.recalled & ~use.target & (use.part == Part.TRAIN))


def _read_in_training(interactions: Interactions, held_out: np.ndarray) -> np.ndarray:
    """[E] whether a held-out row's item is in the own history of a training row of the same user."""
    if not interactions.has(HISTORY):
        return held_out & False
    items, offsets = interactions.lists(HISTORY)
    catalog = max(interactions.item.max(initial=0), items.max(initial=0)) + 1
    pairs = interactions.user[held_out] * catalog + interactions.item[held_out]
    wanted, seen = np.unique(pairs), np.zeros(len(pairs), bool)
    of_held_out = np.zeros(len(interactions.user_ids), bool)
    of_held_out[interactions.user[held_out]] = True
    for block in blocks(len(held_out), 16):
        chosen = (interactions.part[block] == Part.TRAIN) & of_held_out[interactions.user[block]]
        lengths = np.diff(offsets[block.start : block.stop + 1])
        read = items[offsets[block.start] : offsets[block.stop]][np.repeat(chosen, lengths)]
        keys = np.repeat(interactions.user[block][chosen], lengths[chosen]) * catalog + read
        seen |= np.isin(pairs, keys[_among(keys, wanted)])
    both = np.zeros(len(held_out), bool)
    both[held_out] = seen
    return both


def _repeated(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """[E] whether a row equals one of training, and [E] whether it repeats an earlier one of its own part."""
    rows, kinds = _row_kinds(interactions)
    part = interactions.part[rows]
    training = np.zeros(int(kinds.max(initial=0)) + 1, bool)
    training[kinds[part == Part.TRAIN]] = True
    again = np.ones(len(kinds), bool)
    again[np.unique(kinds * len(Part) + (part + 1), return_index=True)[1]] = False
    result = np.zeros((2, len(interactions)), bool)
    result[:, rows] = training[kinds], again & (part != Part.UNUSED)
    return result[0], result[1]


def _row_kinds(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """The rows [m] that may equal another one, ascending, and for each a number [m] that only equal ones share: rows of
    the same user, item and, where the data has them, time, kind and history. The user does not count where the data
    names none (each row is then a user of its own)."""
    nameless = interactions.has(HISTORY) and len(interactions.user_ids) == len(interactions)
    columns = [interactions.item] if nameless else [interactions.user, interactions.item]
    if interactions.time is not None:
        columns.append(interactions.time)
    if interactions.use is not None:
        columns.append(interactions.use.kinds.kind)
    lists = interactions.lists(HISTORY) if interactions.has(HISTORY) else None
    rows = _repeated_hashes(columns, lists)
    columns = [column[rows] for column in columns]
    if lists is not None:
        columns.append(_list_numbers(*lists, rows))
    order = np.lexsort(columns)
    is_new = np.zeros(len(order), bool)
    for column in columns:
        is_new[1:] |= column[order][1:] != column[order][:-1]
    kinds = np.empty(len(order), np.int64)
    kinds[order] = np.cumsum(is_new)
    return rows, kinds


def _repeated_hashes(columns: list[np.ndarray], lists: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """[m] int64 the rows, ascending, whose hash of all columns another row has too: few, so that comparing them costs
    neither time nor memory."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for block in blocks(len(hashes), 16):
        for column in columns:
            hashes[block] = _mixed(hashes[block] ^ _bits(column[block]))
        if lists is not None:
            hashes[block] = _mixed(hashes[block] ^ _list_hashes(*lists, block))
    ordered = np.sort(hashes)
    again = np.zeros(len(ordered), bool)
    for block in blocks(max(0, len(ordered) - 1)):
        again[block] = ordered[block] == ordered[block.start + 1 : block.stop + 1]
    repeated = np.unique(ordered[again])
    return np.concatenate([block.start + _among(hashes[block], repeated) for block in blocks(len(hashes))])


def _bits(values: np.ndarray) -> np.ndarray:
    """[n] uint64 the bits of numbers; 0.0 for -0.0, which equals it."""
    values = values + 0.0 if values.dtype == np.float64 else values.astype(np.int64)
    return values.view(np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """[n] uint64 whose bits depend on all bits of the values (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def _list_hashes(items: np.ndarray, offsets: np.ndarray, block: slice) -> np.ndarray:
    """[b] uint64 a hash of each list of the block: the sum over its elements and their positions, and its length."""
    starts, stops = offsets[block.start : block.stop], offsets[block.start + 1 : block.stop + 1]
    lengths = stops - starts
    position = np.arange(starts[0], stops[-1]) - np.repeat(starts, lengths)
    mixed = _mixed(_mixed(_bits(items[starts[0] : stops[-1]]) + np.uint64(1)) ^ _bits(position))
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed)])
    hashes: np.ndarray = totals[stops - starts[0]] - totals[starts - starts[0]] + _mixed(_bits(lengths))
    return hashes


def _among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Indices of the values [n] that are in `ascending`."""
    if not len(ascending):
        return np.empty(0, np.int64)
    nearest = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.flatnonzero(ascending[nearest] == values)


def _list_numbers(items: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[m] a number for each distinct list of these rows [m]."""
    numbers: dict[bytes, int] = {}
    bounds = zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)
    return np.array([numbers.setdefault(items[a:b].tobytes(), len(numbers)) for a, b in bounds], np.int64)


def _tied(interactions: Interactions) -> np.ndarray:
    """[E] whether another event of the row's user has the same time, so that only the order of the table decides
    whether it is in the row's history."""
    use, tied = interactions.use, np.zeros(len(interactions), bool)
    if interactions.time is None or interactions.has(HISTORY) or (use is not None and use.at_once):
        return tied
    order = time_order(interactions.user, interactions.time)
    near = np.zeros(len(order), bool)
    for block in blocks(max(0, len(order) - 1)):
        rows = order[block.start : block.stop + 1]
        user, time = interactions.user[rows], interactions.time[rows]
        same = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
        near[block] |= same
        near[block.start + 1 : block.stop + 1] |= same
    rows = order[near]
    user, time = interactions.user[rows], interactions.time[rows]
    group = np.cumsum(np.append(False, (user[1:] != user[:-1]) | (time[1:] != time[:-1])))
    recalled = np.ones(len(rows)) if use is None else use.recalled[rows].astype(np.float64)
    tied[rows] = np.bincount(group[: len(rows)], recalled)[group[: len(rows)]] > recalled
    return tied

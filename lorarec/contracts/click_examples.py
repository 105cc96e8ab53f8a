"""Examples of clicks: labeled events of histories, drawn negatives, and groups for ranking losses."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lorarec.contracts.batch import Collation
from lorarec.data.file_rows import row_of
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions, Part
from lorarec.errors import DataError

ITSELF = -1
"""`steps_back` of a row's own target, which comes after all of its history."""
SORTED_ROWS = 8
"""If this many histories contain likes and dislikes, and each is sorted by them, they are not in the order of time."""
COMPARED = "compared"
"""Prefix of the columns of a pairwise group that describe items that were not liked."""


def with_history_targets(own: Dataset, interactions: Interactions, histories: Histories, limit: int) -> Dataset:
    """The training rows' own examples (columns `event`, `label`), then the events of their histories.

    Columns: `event`, the row; `steps_back`, how many events of its history came after the target, -1 for the row's own;
    `item`; `label`. The history of a target is what came before it. Each pair of a user and an item is a target once,
    with its longest history, and never if it is the target of another row: those of validation and test stay hidden,
    those of training are examples already. Without users in the data, it is unknown which rows belong to one person:
    the target of one row may then be in the history of another.

    Raises DataError if rows come without histories, or with unlabeled ones, or with ones that are not in order.
    """
    if not interactions.has("history_feedback"):
        raise DataError(
            "head.history_targets learns from the columns 'history' and 'history_feedback', and the data has none. "
            "Leave it out: all training events are targets already."
        )
    events = interactions.rows(Part.TRAIN)
    history, mask = histories.latest(events, limit)
    labeled = mask & ~np.isnan(history.feedback)
    liked = history.feedback > histories.liked_above
    _refuse_sorted(liked, labeled)
    row, column = np.nonzero(labeled)
    items = history.items[row, column]
    before = column - (mask.shape[1] - mask.sum(axis=1))[row]  # histories are right-aligned
    kept = _one_per_pair(interactions, interactions.user[events][row], items, before, row)
    own_columns = {name: np.asarray(own.with_format("numpy")[name]) for name in ("event", "label")}
    return Dataset.from_dict(
        {
            "event": np.concatenate((own_columns["event"], events[row[kept]])),
            "steps_back": np.concatenate((np.full(len(own), ITSELF), mask.shape[1] - 1 - column[kept])),
            "item": np.concatenate((interactions.item[own_columns["event"]], items[kept])),
            "label": np.concatenate((own_columns["label"], liked[row[kept], column[kept]].astype(np.float64))),
        }
    )


def _one_per_pair(
    interactions: Interactions, users: np.ndarray, items: np.ndarray, before: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """Indices of the events of histories [n] to keep, ascending: for each user and item the one with the most events
    `before` it, then the one of the earliest row; none that is the target of a row of any part."""
    many = interactions.item.max() + items.max(initial=0) + 1
    pair, targets = users * many + items, interactions.user * many + interactions.item
    order = np.lexsort((row, -before, pair))
    _, first = np.unique(pair[order], return_index=True)
    kept = np.sort(order[first])
    return np.asarray(kept[~np.isin(pair[kept], targets[interactions.part != Part.UNUSED])])


def _refuse_sorted(liked: np.ndarray, labeled: np.ndarray) -> None:
    """Raise DataError if likes come first, or last, in every history: the events before a target would reveal it."""
    known = np.where(labeled, liked, np.nan)
    mixed = (labeled & liked).any(axis=1) & (labeled & ~liked).any(axis=1)
    if mixed.sum() < SORTED_ROWS:
        return
    steps = [np.diff(row[~np.isnan(row)]) for row in known[mixed]]
    if all((step <= 0).all() for step in steps) or all((step >= 0).all() for step in steps):
        raise DataError(
            "head.history_targets: all histories are sorted by feedback, so they are not in the order of time, and the "
            "events before a target reveal its label. Give histories in the order of time (source 'instruction': "
            "data.source.rows=true), or leave history_targets out."
        )


def drawn_examples(interactions: Interactions, part: Part, negatives: int) -> Dataset:
    """Rows of (event, draw, label): draw 0 is the event's item, 1 to `negatives` are drawn negatives."""
    events = interactions.rows(part)
    draw = np.tile(np.arange(1 + negatives), len(events))
    return Dataset.from_dict(
        {"event": np.repeat(events, 1 + negatives), "negative_index": draw, "label": (draw == 0).astype(np.float64)}
    )


def drawn_items(rows: dict[str, np.ndarray], chosen: np.ndarray, negatives: int, collation: Collation) -> np.ndarray:
    """[B] item of each row of `drawn_examples`: the event's, or a negative, a function of (seed, epoch, event).

    In training, no negative is an item that the user had before the event: later choices stay unknown. Outside of
    training, none is an item that the user has had in any part, since a choice must not count as a mistake; the
    epoch is 0, so that all evaluations use the same items. Raises DataError where too few items are left.
    """
    candidates, drawn = chosen.copy(), {}
    for index in np.flatnonzero(rows["negative_index"] > 0):
        event = int(rows["event"][index])
        if event not in drawn:
            drawn[event] = _negatives(event, int(chosen[index]), negatives, collation)
        candidates[index] = drawn[event][rows["negative_index"][index] - 1]
    return candidates


def _negatives(event: int, chosen: int, count: int, collation: Collation) -> np.ndarray:
    """[count] the negatives of one event."""
    interactions, epoch = collation.interactions, collation.epoch
    had = np.append(collation.histories.seen(event), chosen)
    if not collation.training:
        had, epoch = np.concatenate([had, interactions.held_out_users.of(int(interactions.user[event]))]), 0
    drawn = collation.negatives.for_row(epoch, event, count, had)
    if len(drawn) < count:
        raise DataError(
            f"Row {row_of(event, interactions.rows_in_files)}: its user has had all but {len(drawn)} of the "
            f"{collation.catalog_size} items, so {count} negatives cannot be drawn. Lower "
            "head.negatives, or leave such users out of the data."
        )
    return drawn


def pairwise_groups(examples: Dataset, owner: np.ndarray, negatives_per_positive: int) -> Dataset:
    """One row per group: the columns of `examples` (numbers) for an item that was liked, and `compared1_...` to
    `compared{R}_...` for items that were not.

    owner [n]: only examples of one owner (a user; with drawn negatives, an event) are compared. Each example is in at
    least one group; owners who liked everything or nothing have no groups. Raises DataError if there are no groups.
    """
    columns = examples.with_format("numpy")[:]
    label = np.asarray(columns["label"])
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
    liked, beaten = [], []
    for indices in np.split(order, starts[1:]):
        likes, others = indices[label[indices] > 0], indices[label[indices] <= 0]
        if len(likes) and len(others):
            turns = np.arange(max(len(likes), -(-len(others) // negatives_per_positive)))
            liked.append(likes[turns % len(likes)])
            beaten.append(
                others[(turns[:, None] * negatives_per_positive + np.arange(negatives_per_positive)) % len(others)]
            )
    if not liked:
        raise DataError(
            "head.loss=ranking compares items that a user liked with items that the same user did not like, and no "
            "user has both in training. Set head.loss=bce, or draw negatives with head.negatives."
        )
    first, rest = np.concatenate(liked), np.concatenate(beaten)
    table = {name: np.asarray(column)[first] for name, column in columns.items()}
    for negative in range(negatives_per_positive):
        table |= {f"{COMPARED}{negative + 1}_{name}": np.asarray(c)[rest[:, negative]] for name, c in columns.items()}
    return Dataset.from_dict(table)


def ungrouped(rows: dict[str, np.ndarray], negatives_per_positive: int) -> dict[str, np.ndarray]:
    """The columns of the [B * (1 + R)] examples in B pairwise groups, group by group with the liked item first; `row`
    stays [B]."""
    names = [name for name in rows if name != "row" and not name.startswith(COMPARED)]
    numbers = range(1, negatives_per_positive + 1)
    flat = {n: np.stack([rows[n], *(rows[f"{COMPARED}{k}_{n}"] for k in numbers)], axis=1).ravel() for n in names}
    return {"row": rows["row"], **flat}


def refuse_weights_of_negatives(examples: Dataset, interactions: Interactions) -> None:
    """Raise DataError if a kind of event that is never liked has a weight: it would have no effect."""
    kinds = None if interactions.use is None else interactions.use.kinds
    if kinds is None or not kinds.weights:
        return
    columns = examples.with_format("numpy")[:]
    for index in np.unique(kinds.kind[columns["event"][columns["label"] <= 0]]).tolist():
        if kinds.weights[index] != 1:
            raise DataError(
                f"data.events.weights.{kinds.names[index]}={kinds.weights[index]:g} does nothing here: with ranking "
                "losses (head.loss), a pairwise group has the weight of the row that was liked. Leave it out, or set "
                "head.loss=bce."
            )

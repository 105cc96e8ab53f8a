"""Next item: what a user will turn to, out of the whole catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from lorarec.contracts import (
    Batch,
    Collation,
    DataError,
    Histories,
    Interactions,
    PaddedHistory,
    Part,
    Statistics,
    StepSample,
    TaskHead,
    VectorPredictor,
    View,
    Views,
    distinct_items,
    hookimpl,
    order_by,
)
from lorarec_heads.next_item.network import NextItemNetwork
from lorarec_heads.next_item.settings import NextItemSettings

ROWS = 1 << 24
"""Training rows that are cut into windows at a time."""


class NextItem(TaskHead):
    """Softmax over the catalog; item vectors from text, so that new items can be recommended."""

    name = "next_item"
    summary = "the next item out of the whole catalog, from item texts in sequence"
    paper = "Kang and McAuley, SASRec, ICDM 2018, with text as in UniSRec, Hou et al., KDD 2022"
    predictor = VectorPredictor
    default_metrics = ("ndcg@10", "hr@10")

    class Config(NextItemSettings):
        """Settings of the next-item head."""

    config: Config

    def reads_feedback(self, views: bool) -> bool:
        """Where the recipe says so, or the backbone reads histories and writes what was liked."""
        return self.config.feedback or (views and self.config.reads_views)

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """A window of a training sequence a row; outside training, and without steps, one event a row."""
        if self.config.feedback and part == Part.TRAIN:
            _refuse_missing_feedback(interactions)
        return window_examples(interactions, histories, part, self.config.window_targets)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """Items, and perhaps histories, as views; tensors of B windows of L events, and in training their
        targets."""
        history = PaddedHistory.of(collation.histories, rows["event"], self.config.max_history)
        liked = history.liked(collation.histories.liked_above).astype(np.int64)
        tensors = {
            "mask": torch.from_numpy(history.mask),
            "feedback": torch.from_numpy(liked + 1),
        }
        targets = self._targets(rows, history, collation) if collation.training else None
        views = self._item_views(history, targets, tensors, collation)
        if self.config.reads_views:
            users = collation.user_words(rows["event"])
            columns = zip(history.items, history.feedback, history.mask, users, strict=True)
            read = [
                View(tuple(items[mask].tolist()), collation.histories.liked(feedback[mask]), user=user)
                for items, feedback, mask, user in columns
            ]
            views["histories"] = collation.views(read)
        events = rows["event"]
        if targets is not None:
            events = np.concatenate([history.events[:, 1:], events[:, None]], axis=1)[targets >= 0]
        return Batch(torch.from_numpy(rows["row"]), len(events), views, tensors, events=events)

    def _targets(self, rows: dict[str, np.ndarray], history: PaddedHistory, collation: Collation) -> np.ndarray:
        """[B, L] catalog row of the event after each position, -1 where it is not to be predicted."""
        last = collation.interactions.item[rows["event"]]
        following = np.concatenate([history.items[:, 1:], last[:, None]], axis=1)
        length = following.shape[1]
        wanted = np.arange(length) >= length - rows["targets"][:, None]
        return np.where(wanted, following, -1)

    def _item_views(
        self,
        history: PaddedHistory,
        targets: np.ndarray | None,
        tensors: dict[str, Tensor],
        collation: Collation,
    ) -> dict[str, Views]:
        """Views of the items needed; puts the indices of histories, targets and drawn items among them into
        `tensors`."""
        read = np.empty((len(history.items), 0), np.int64) if self.config.reads_views else history.items
        if targets is None:
            items, (within,) = distinct_items(read)
            tensors |= {"items": torch.from_numpy(items), "history": within}
            return {} if self.config.reads_views else {"items": collation.item_views(items)}
        tensors["targets"] = torch.from_numpy(targets)
        if not self.config.draws:
            every = np.arange(collation.catalog_size)
            tensors |= {"items": torch.from_numpy(every), "history": torch.from_numpy(read)}
            return {"items": collation.item_views(every)}
        wanted = targets[targets >= 0]
        drawn = self._negatives(wanted, collation)
        items, indices = distinct_items(read, wanted, drawn.items)
        tensors |= dict(zip(("history", "own", "drawn"), indices, strict=True))
        tensors |= {"items": torch.from_numpy(items), "expected": torch.from_numpy(drawn.expected).float()}
        return {"items": collation.item_views(items)}

    def _negatives(self, targets: np.ndarray, collation: Collation) -> StepSample:
        """The items that the targets [T] of the batch are compared with."""
        config, sampler = self.config, collation.negatives
        if config.sampling == "mixed_in_batch":
            return sampler.beside_targets(collation.epoch, collation.step, config.negatives, targets)
        return sampler.sample_for_step(collation.epoch, collation.step, config.negatives, config.sampling)

    def build(self, hidden_size: int, statistics: Statistics) -> NextItemNetwork:
        """A network that starts as popularity and the similarity of texts to the latest event.

        Raises DataError for a catalog of one item.
        """
        if len(statistics.item_counts) < 2:
            raise DataError("The catalog holds one item: there is no next one to choose. Check data.columns.item.")
        return NextItemNetwork(self.config, hidden_size, statistics)


def _refuse_missing_feedback(interactions: Interactions) -> None:
    given = ("history_feedback",) if interactions.has("history") else ("rating", "click")
    if not any(interactions.has(name) for name in given):
        raise DataError(
            f"head.feedback tells what was liked, but the data has no column {' or '.join(given)}. Set "
            "head.feedback=false, or name the column under data.columns, or disliked kinds under data.events.negative."
        )


def window_examples(interactions: Interactions, histories: Histories, part: Part, targets: int) -> Dataset:
    """Rows of (event, targets): a window ends with `event`, and its last `targets` events are to be
    predicted.

    Outside training, and where rows bring their own histories, each event is a row of its own. In training,
    windows hold up to `targets` targets; an event with nothing before it is no target. Raises DataError if
    histories show the future.
    """
    if part != Part.TRAIN or interactions.has("history"):
        events = interactions.rows(part)
        events = events if part != Part.TRAIN else events[histories.lengths(events) > 0]
        return Dataset.from_dict({"event": events, "targets": np.ones(len(events), np.int64)})
    windows = [np.empty((2, 0), np.int64)]
    for events in _rows_of_users(interactions, part):
        position = histories.lengths(events)
        _refuse_future(interactions.user[events], position)
        events, position = events[position > 0], position[position > 0]
        last, held = _windows(interactions.user[events], position, targets)
        windows.append(np.stack([events[last], held]))
    last, held = np.concatenate(windows, axis=1)
    return Dataset.from_dict({"event": last, "targets": held})


def _rows_of_users(interactions: Interactions, part: Part) -> Iterator[np.ndarray]:
    """The rows of a part, some users at a time: at most ROWS rows of several users, so that memory stays small."""
    chosen = interactions.part == part
    before = np.cumsum(np.bincount(interactions.user[chosen]))
    start, done = 0, 0
    while start < len(before):
        stop = max(start + 1, int(np.searchsorted(before, done + ROWS, side="right")))
        yield np.flatnonzero(chosen & (interactions.user >= start) & (interactions.user < stop))
        start, done = stop, int(before[stop - 1])


def _windows(users: np.ndarray, position: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Which events end a window, and how many targets each window has."""
    order = order_by(users, position)
    users, position = users[order], position[order]
    if not len(order):
        return order, order
    # A run is a stretch of one user's events without a gap; windows are cut from its end.
    starts = np.flatnonzero(np.r_[True, (np.diff(users) != 0) | (np.diff(position) != 1)])
    lengths = np.diff(np.r_[starts, len(users)])
    from_end = np.repeat(starts + lengths, lengths) - 1 - np.arange(len(users))
    ends = np.flatnonzero(from_end % length == 0)
    left = ends - np.repeat(starts, lengths)[ends] + 1
    return order[ends], np.minimum(left, length)


def _refuse_future(users: np.ndarray, position: np.ndarray) -> None:
    """Two events of one user with equally long histories: each sees the other, so one of them sees its
    future."""
    order = order_by(users, position)
    same = (np.diff(users[order]) == 0) & (np.diff(position[order]) == 0)
    if same.any():
        raise DataError(
            "Head 'next_item' predicts what comes next, but the histories hold later events too. Set "
            "data.history.scope=past."
        )


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Next item."""
    return [NextItem]

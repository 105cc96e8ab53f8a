"""Batch and Examples: the examples of one part, the batches that a head's `collate` makes of them, and their views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.config.recipe import Seen
from lorarec.contracts.backbone import Featurizer, View
from lorarec.data.catalog import Catalog
from lorarec.data.columns import WEIGHT
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions
from lorarec.data.negatives import NegativeSampler
from lorarec.data.users import Users
from lorarec.errors import IncompatibleError, PluginError

if TYPE_CHECKING:
    from datasets import Dataset

    from lorarec.contracts.predictor import Predictor
    from lorarec.contracts.task_head import TaskHead


POSITIONS = 4096
"""Maximal number of positions of a chunk, padding included: enough to fill a processor, few enough for its caches."""
CHUNK_COST = 96
"""Cost of one more chunk (calls, smaller matrices), as the number of padding positions that cost the same; measured on
two CPU cores with a small encoder, forward and backward."""


@dataclass(frozen=True)
class ItemStates:
    """Hidden states of every item below the lowest block that trains; the network can start from them."""

    blocks: int
    """How many of the lowest blocks they replace."""
    states: Tensor
    """[T, D] of all items, one position after another; memory-mapped."""
    starts: np.ndarray
    """[N + 1] int64 start of each item's positions."""

    def of(self, views: Sequence[View]) -> Tensor | None:
        """[B, L, D] of B views, padded with zeros; None unless each of them is a single item."""
        items = np.array([view.candidate for view in views if view.is_item], np.int64)
        if len(items) < len(views):
            return None
        lengths = self.starts[items + 1] - self.starts[items]
        position_BL = np.arange(lengths.max())[None, :]
        mask_BL = torch.from_numpy(position_BL < lengths[:, None])
        rows = torch.from_numpy((self.starts[items][:, None] + position_BL)[mask_BL.numpy()])
        padded = torch.zeros(*mask_BL.shape, self.states.shape[1], dtype=self.states.dtype)
        padded[mask_BL] = self.states[rows]
        return padded


class LowerStates(NamedTuple):
    """Precomputed hidden states that replace the lowest blocks when views are encoded."""

    blocks: int
    chunks: list[Tensor | None]
    """[B, L, D] of each chunk; None if all blocks must run."""


class Views(NamedTuple):
    """V distinct views as features, in chunks of similar length to reduce padding."""

    chunks: list[dict[str, Tensor]]
    order: Tensor
    """[V] int64: the index of each view, in the given order, in the concatenated chunks."""
    items: Tensor | None = None
    """[V] int64 catalog rows, if every view is one item: the encoded catalog can then replace the chunks."""
    lower: LowerStates | None = None

    def to(self, device: torch.device) -> Views:
        """The same views on another device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Views(
            [{name: t.to(device, non_blocking=True) for name, t in chunk.items()} for chunk in self.chunks],
            self.order.to(device, non_blocking=True),
            moved(self.items),
            self.lower and self.lower._replace(chunks=[moved(states) for states in self.lower.chunks]),
        )


@dataclass(frozen=True)
class Batch:
    """One (micro-)batch of B examples."""

    rows: Tensor
    """[B] int64 example numbers; evaluation uses them to drop repeats."""
    count: int
    """T, the number of supervised targets; known before the forward so that micro-batches and processes are weighted
    by their numbers of targets."""
    views: dict[str, Views] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Labels, index tensors and other tensors that the head needs."""
    events: np.ndarray | None = None
    """[T] int64 row of each target in the interactions; the row's weight multiplies the loss. A head that leaves it out
    cannot be trained on data with weights."""
    weights: Tensor | None = None
    """[T] float32 weights of the targets; None if the data has no weights. lorarec sets it after `collate`."""

    @property
    def weight(self) -> float:
        """The batch's weight in the mean of an optimizer step: the sum of its targets' weights, or their count."""
        return float(self.count if self.weights is None else self.weights.sum(dtype=torch.float64))

    def total(self, values: Tensor) -> Tensor:
        """[] weighted sum of one value per target [T]."""
        return values.sum() if self.weights is None else (values * self.weights).sum()

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            rows=self.rows.to(device, non_blocking=True),
            views={name: views.to(device) for name, views in self.views.items()},
            tensors={name: t.to(device, non_blocking=True) for name, t in self.tensors.items()},
            weights=None if self.weights is None else self.weights.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Collation:
    """What `collate` may use in addition to the rows."""

    interactions: Interactions
    histories: Histories
    featurizer: Featurizer
    negatives: NegativeSampler
    catalog_size: int
    training: bool
    """False for validation, test and inference: labels may be missing, and sampling must not depend on `epoch`."""
    epoch: int = 0
    step: int = 0
    """Optimizer step of the micro-batch; negatives shared by a batch are drawn for (seed, epoch, step)."""
    items_encoded: bool = False
    """Whether all items are encoded already: item views then need no features."""
    users: Users | None = None
    """The users' columns that the backbone reads; None if it reads none."""
    catalog: Catalog | None = None
    """The items' texts, for heads that read words themselves. lorarec always sets it."""
    item_states: ItemStates | None = None
    """Precomputed hidden states of the lowest blocks; None if these train, or if none were kept."""

    def user_words(self, events: np.ndarray) -> list[tuple[str, ...]]:
        """[n] `View.user` for the users of these events [n]: empty if the backbone reads no user columns."""
        if self.users is None:
            return [()] * len(events)
        return self.users.words(self.interactions.user[events])

    def views(self, views: Sequence[View]) -> Views:
        """Features of distinct views, in chunks of similar length."""
        lengths = np.fromiter((self.featurizer.length(view) for view in views), np.int64, len(views))
        by_length = np.argsort(lengths, kind="stable")
        groups = [[views[index] for index in by_length[start:stop]] for start, stop in chunk_bounds(lengths[by_length])]
        kept = self.item_states
        lower = None if kept is None else LowerStates(kept.blocks, [kept.of(group) for group in groups])
        order = np.empty(len(views), np.int64)
        order[by_length] = np.arange(len(views))
        return Views([self.featurizer(group) for group in groups], torch.from_numpy(order), lower=lower)

    def item_views(self, items: np.ndarray) -> Views:
        """Features of distinct catalog rows [V]; none are made if all items are encoded already."""
        rows = torch.as_tensor(np.asarray(items), dtype=torch.int64)
        if self.items_encoded:
            return Views([], torch.empty(0, dtype=torch.int64), rows)
        return self.views([View(candidate=int(item)) for item in items])._replace(items=rows)


def chunk_bounds(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and stop of each chunk of views with these ascending lengths [V].

    A chunk ends when it is full, or when padding its shorter views would cost more than a new chunk.
    """
    start, padding = 0, 0
    for index in range(1, len(lengths)):
        padding += (index - start) * int(lengths[index] - lengths[index - 1])
        if padding > CHUNK_COST or (index - start + 1) * int(lengths[index]) > POSITIONS:
            yield start, index
            start, padding = index, 0
    if len(lengths):
        yield start, len(lengths)


@dataclass(frozen=True)
class Examples:
    """The examples of one part of the split, or the requests to a finished run, with what is needed to collate them."""

    table: Dataset
    head: TaskHead
    collation: Collation
    seen: Seen = "mask"
    """Whether items that the user had before are left out of rankings (`evaluate.seen`)."""

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        # Numeric columns are read at once; row access of a Dataset would cost more than a step's other bookkeeping.
        data = self.table.data
        return {name: data.column(name).to_numpy() for name in self.table.column_names}

    @cached_property
    def predictor(self) -> Predictor:
        """How predictions for these examples are made and evaluated."""
        return self.head.predictor(self.head)

    @property
    def events(self) -> np.ndarray:
        """[n] int64 row of each example in the interactions."""
        return self._columns["event"]

    @property
    def users(self) -> np.ndarray:
        """[n] int64 user rows."""
        users: np.ndarray = self.collation.interactions.user[self.events]
        return users

    @cached_property
    def items(self) -> np.ndarray:
        """[n] int64 catalog row of each example, including items that were drawn as negatives."""
        return self.head.items(self._columns, self.collation)

    def masked(self, rows: np.ndarray) -> list[np.ndarray]:
        """The catalog rows to leave out of the ranking of each of these example numbers: the items that its user had
        before; none if `seen` is keep."""
        return self.collation.histories.masked(self.events[rows], self.seen)

    def labels(self) -> np.ndarray:
        """[n] float64 targets of prediction: the examples' column `label`."""
        return self._columns["label"].astype(np.float64)

    def batch(self, rows: np.ndarray, epoch: int = 0, step: int = 0) -> Batch:
        """The batch of these example numbers, in training with the weights of its targets."""
        columns = {name: column[rows] for name, column in self._columns.items()}
        batch = self.head.collate(columns | {"row": rows}, replace(self.collation, epoch=epoch, step=step))
        if not (self.collation.training and self.collation.interactions.has(WEIGHT)):
            return batch
        if batch.events is None:
            raise IncompatibleError(
                f"The data has the column '{WEIGHT}', but head '{self.head.name}' does not give the row of each of its "
                "targets (Batch.events), so losses cannot be weighted. Leave data.columns.weight out, or use another "
                "head."
            )
        if len(batch.events) != batch.count:
            raise PluginError(
                f"head '{self.head.name}' gives {len(batch.events)} rows (Batch.events) for a batch of {batch.count} "
                "targets (Batch.count): there must be one row per target."
            )
        weights = self.collation.interactions.column(WEIGHT)[batch.events]
        return replace(batch, weights=torch.from_numpy(weights.astype(np.float32)))

    def with_items_encoded(self) -> Examples:
        """The same examples, collated for use with the encoded catalog: item views carry no features."""
        return replace(self, collation=replace(self.collation, items_encoded=True))

    def reads_items(self) -> bool:
        """Whether batches have views of single items, which the encoded catalog can replace."""
        probe = self.with_items_encoded().batch(np.zeros(1, np.int64))
        return any(views.items is not None for views in probe.views.values())

    def blocks(self, size: int) -> list[np.ndarray]:
        """All example numbers in order, in blocks of `size`: the unit that evaluation distributes over processes."""
        return [np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)]

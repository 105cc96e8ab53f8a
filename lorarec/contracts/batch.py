"""Batch and Examples: one part's examples, the batches that a head's `collate` makes of them, and how views get in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

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
"""Positions a chunk takes at most, padding counted: enough to fill a processor, few enough for its caches."""
CHUNK_COST = 96
"""What a chunk more costs (calls, smaller matrices), in positions of padding that would cost as much; measured on
two CPU cores with a small encoder, forward and backward."""


@dataclass(frozen=True)
class ItemStates:
    """Hidden states of every item below the lowest block that trains: the network can start from them."""

    blocks: int
    """How many of the lowest blocks they stand in for."""
    states: Tensor
    """[T, D] of all items, one position after another; memory-mapped."""
    starts: np.ndarray
    """[N + 1] int64 where each item's positions begin."""

    def of(self, views: Sequence[View]) -> Tensor | None:
        """[B, L, D] of B views, padded with zeros; None unless each of them is an item alone."""
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
    """What stands in for the lowest blocks where views are encoded."""

    blocks: int
    chunks: list[Tensor | None]
    """[B, L, D] of each chunk; None where all blocks must run."""


class Views(NamedTuple):
    """V distinct views as features, in chunks of like length so that little is spent on padding."""

    chunks: list[dict[str, Tensor]]
    order: Tensor
    """[V] int64: where each view, in the order it was given, stands in the concatenated chunks."""
    items: Tensor | None = None
    """[V] int64 catalogue rows, where every view is one item: an item table can then stand in for the chunks."""
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
    """[B] int64: which examples these are; evaluation drops repeats by it."""
    count: int
    """T, how many supervised targets the head's losses are of; known before the forward so that accumulated
    micro-batches and several processes are weighted by their real counts."""
    views: dict[str, Views] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Labels, index tensors and whatever else the head needs."""
    events: np.ndarray | None = None
    """[T] int64 the row in the interactions that each target is about, whose weight multiplies its loss. A head that
    leaves it out cannot be trained on data with weights."""
    weights: Tensor | None = None
    """[T] float32 of the targets; None where the data have no weights. lorarec fills it in, after `collate`."""

    @property
    def weight(self) -> float:
        """What the batch weighs in the mean of an optimizer step: the sum of its targets' weights, or their count."""
        return float(self.count if self.weights is None else self.weights.sum(dtype=torch.float64))

    def total(self, values: Tensor) -> Tensor:
        """[] the sum of one value a target [T], each multiplied by the target's weight."""
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
    """What `collate` may use besides the rows themselves."""

    interactions: Interactions
    histories: Histories
    featurizer: Featurizer
    negatives: NegativeSampler
    catalog_size: int
    training: bool
    """False for validation, test and inference: no labels need exist, and sampling must not depend on `epoch`."""
    epoch: int = 0
    step: int = 0
    """Optimizer step the micro-batch belongs to; negatives shared by a batch are drawn for (seed, epoch, step)."""
    table: bool = False
    """An item table stands ready: item views need no features."""
    users: Users | None = None
    """What the backbone reads of the users; None where it reads nothing of them."""
    catalog: Catalog | None = None
    """The items' texts, for heads that look at words themselves. lorarec always gives it."""
    item_states: ItemStates | None = None
    """Hidden states that the lowest blocks need not compute again; None where these train, or nothing was kept."""

    def user_words(self, events: np.ndarray) -> list[tuple[str, ...]]:
        """[n] `View.user` for the users of these events [n]: empty where the backbone reads nothing of users."""
        if self.users is None:
            return [()] * len(events)
        return self.users.words(self.interactions.user[events])

    def views(self, views: Sequence[View]) -> Views:
        """Features of distinct views, in chunks of like length."""
        lengths = np.fromiter((self.featurizer.length(view) for view in views), np.int64, len(views))
        by_length = np.argsort(lengths, kind="stable")
        groups = [[views[index] for index in by_length[start:stop]] for start, stop in chunk_bounds(lengths[by_length])]
        kept = self.item_states
        lower = None if kept is None else LowerStates(kept.blocks, [kept.of(group) for group in groups])
        order = np.empty(len(views), np.int64)
        order[by_length] = np.arange(len(views))
        return Views([self.featurizer(group) for group in groups], torch.from_numpy(order), lower=lower)

    def item_views(self, items: np.ndarray) -> Views:
        """Features of distinct catalogue rows [V]; none are made where an item table stands ready."""
        rows = torch.as_tensor(np.asarray(items), dtype=torch.int64)
        if self.table:
            return Views([], torch.empty(0, dtype=torch.int64), rows)
        return self.views([View(candidate=int(item)) for item in items])._replace(items=rows)


def chunk_bounds(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and stop of each chunk of views with these ascending lengths [V].

    A chunk ends where it would be full, or where padding its shorter views would cost more than a new chunk.
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
    """The examples of one part of the split, or the requests to a finished run, with what it takes to collate them."""

    table: Dataset
    head: TaskHead
    collation: Collation

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        # Columns of numbers are read at once; Dataset's row access would cost more than a step's other book-keeping.
        data = self.table.data
        return {name: data.column(name).to_numpy() for name in self.table.column_names}

    @cached_property
    def predictor(self) -> Predictor:
        """How these examples are answered and judged."""
        return self.head.predictor(self.head)

    @property
    def events(self) -> np.ndarray:
        """[n] int64 the row in the interactions that each example is about."""
        return self._columns["event"]

    @property
    def users(self) -> np.ndarray:
        """[n] int64 user rows."""
        users: np.ndarray = self.collation.interactions.user[self.events]
        return users

    @cached_property
    def items(self) -> np.ndarray:
        """[n] int64 catalog rows that the examples ask about, those drawn beside an event among them."""
        return self.head.items(self._columns, self.collation)

    def labels(self) -> np.ndarray:
        """[n] float64 what is to be predicted: the examples' own `label` column."""
        return self._columns["label"].astype(np.float64)

    def batch(self, rows: np.ndarray, epoch: int = 0, step: int = 0) -> Batch:
        """The batch of these example numbers, with the weights of its targets where it is trained on."""
        columns = {name: column[rows] for name, column in self._columns.items()}
        batch = self.head.collate(columns | {"row": rows}, replace(self.collation, epoch=epoch, step=step))
        if not (self.collation.training and self.collation.interactions.has(WEIGHT)):
            return batch
        if batch.events is None:
            raise IncompatibleError(
                f"The data has the column '{WEIGHT}', but head '{self.head.name}' does not say which row each of its "
                "targets is about (Batch.events), so that no loss could be weighted. Leave data.columns.weight out, "
                "or use another head."
            )
        if len(batch.events) != batch.count:
            raise PluginError(
                f"head '{self.head.name}' says of a batch of {batch.count} targets (Batch.count) which "
                f"{len(batch.events)} rows they are about (Batch.events): there must be one a target."
            )
        weights = self.collation.interactions.column(WEIGHT)[batch.events]
        return replace(batch, weights=torch.from_numpy(weights.astype(np.float32)))

    def with_table(self) -> Examples:
        """The same examples, collated for use beside an item table."""
        return replace(self, collation=replace(self.collation, table=True))

    def reads_items(self) -> bool:
        """Whether batches hold views of single items, for which an item table can stand in."""
        probe = self.with_table().batch(np.zeros(1, np.int64))
        return any(views.items is not None for views in probe.views.values())

    def blocks(self, size: int) -> list[np.ndarray]:
        """All example numbers in order, in blocks of `size`: the unit that evaluation deals out to processes."""
        return [np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)]

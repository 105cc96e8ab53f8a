"""Examples: one part's supervised facts, and the batches made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from lorarec.contracts.batch import Batch, Collation
from lorarec.data.columns import WEIGHT
from lorarec.errors import IncompatibleError, PluginError

if TYPE_CHECKING:
    from datasets import Dataset

    from lorarec.contracts.predictor import Predictor
    from lorarec.contracts.task_head import TaskHead


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

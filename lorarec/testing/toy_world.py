"""ToyWorld: a head on small seeded events, with an encoder that looks vectors up instead of reading text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from lorarec.config.recipe import DataSection
from lorarec.contracts import (
    Batch,
    Collation,
    Examples,
    Head,
    IncompatibleError,
    NegativeSampler,
    Part,
    Requests,
    TaskHead,
    View,
)
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables

HIDDEN = 12


class RowFeatures:
    """A featurizer that writes a view as its rows: [B, 1 + longest history], -1 for nothing."""

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        longest = max((len(view.history) for view in views), default=0)
        rows = torch.full((len(views), 1 + longest), -1)
        for index, view in enumerate(views):
            rows[index, 0] = -1 if view.candidate is None else view.candidate
            if view.history:
                rows[index, 1 : 1 + len(view.history)] = torch.tensor(view.history)
        return {"rows": rows}

    def length(self, view: View) -> int:
        return 1 + len(view.history)


class LookUp:
    """An encoder: a view's vector is the sum of its items' vectors."""

    def __init__(self, vectors: Tensor, batch: Batch, with_steps: bool = False) -> None:
        self._vectors, self._batch, self._with_steps = vectors, batch, with_steps

    def vectors(self, views: str) -> Tensor:
        wanted = self._batch.views[views]
        vectors = []
        for chunk in wanted.chunks:
            rows = chunk["rows"]
            vectors.append((self._vectors[rows.clamp(min=0)] * (rows >= 0)[..., None]).sum(dim=1))
        return torch.cat(vectors)[wanted.order]

    def states(self, views: str) -> Tensor | None:
        if not self._with_steps:
            return None
        wanted = self._batch.views[views]
        longest = max(chunk["rows"].shape[1] - 1 for chunk in wanted.chunks)
        states = torch.zeros(len(wanted.order), longest, HIDDEN)
        index = 0
        for chunk in wanted.chunks:
            for rows in chunk["rows"]:
                history = rows[1:][rows[1:] >= 0]
                if len(history):
                    states[index, -len(history) :] = self._vectors[history].cumsum(dim=0)
                index += 1
        return states[wanted.order]

    def logits(self, views: str, tokens: Sequence[str]) -> Tensor:
        raise IncompatibleError("a table of vectors is no language model")

    def reference(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass
class ToyWorld:
    """A head, its data, and vectors in place of a backbone."""

    task: TaskHead
    data: PreparedData
    vectors: Tensor
    with_steps: bool = False

    def examples(self, part: Part = Part.TRAIN) -> Examples:
        return Examples(
            self.task.examples(self.data.interactions, self.data.histories, part),
            self.task,
            Collation(
                self.data.interactions,
                self.data.histories,
                RowFeatures(),
                NegativeSampler(5, len(self.data.catalog), self.data.statistics.item_counts),
                len(self.data.catalog),
                training=part == Part.TRAIN,
                catalog=self.data.catalog,
            ),
        )

    def requests(self, histories: list[list[int]], feedback: list[list[float]], items: list[int]) -> Examples:
        asked = Requests.of(histories, feedback, items, self.data.statistics.liked_above)
        collation = replace(
            self.examples(Part.TEST).collation, interactions=asked.events, histories=asked.histories, training=False
        )
        return Examples(self.task.requests(asked), self.task, collation)

    def build(self, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.task.build(HIDDEN, self.data.statistics)

    def encoder(self, batch: Batch, vectors: Tensor | None = None) -> LookUp:
        return LookUp(self.vectors if vectors is None else vectors, batch, self.with_steps)

    def loss(self, head: Head, batch: Batch) -> Tensor:
        losses, regularizer = head.losses(self.encoder(batch), batch), head.regularizer(batch)
        return batch.total(losses) if regularizer is None else batch.total(losses) + regularizer

    def train(self, head: Head, steps: int = 60, batch_size: int = 64, lr: float = 0.02) -> list[float]:
        """Mean loss of each step."""
        examples, losses = self.examples(), []
        optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.0)
        generator = np.random.default_rng(0)
        head.train()
        for step in range(steps):
            rows = generator.choice(len(examples), min(batch_size, len(examples)), replace=False)
            batch = examples.batch(rows, 0, step)
            loss = self.loss(head, batch) / batch.count
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        return losses


def toy_events() -> dict[str, list[Any]]:
    """Columns `user`, `item`, `time`, `rating` and `click` of 40 users and 24 items, 20 events each at distinct
    moments; users love items of their own parity. Item 23 is never in the first 80% of the time, so training never sees
    it."""
    generator = np.random.default_rng(3)
    rows: list[tuple[int, int, int, float, float]] = []
    for user in range(40):
        for time in range(20):
            late = time >= 16
            item = int(generator.integers(0, 24 if late else 23))
            taste = 1.4 if item % 2 == user % 2 else -1.4
            stars = float(np.clip(3.3 + taste + generator.normal() / 3, 1, 5))
            rows.append((user, item, time * 100 + user, stars, float(stars > 3)))
    names = ("user", "item", "time", "rating", "click")
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def toy_world(
    events: Mapping[str, list[Any]],
    /,
    task: TaskHead,
    *columns: str,
    with_steps: bool = False,
    given: Mapping[str, list[Any]] | None = None,
    **section: Any,
) -> ToyWorld:
    """The task on user, item, time and these columns of `toy_events`, changed or not, or on the table that is `given`;
    the vectors of items tell their parity. `with_steps`: the encoder reads states; `section`: settings of a recipe's
    `data`."""
    table = Dataset.from_dict(dict(given or {name: events[name] for name in ("user", "item", "time", *columns)}))
    catalog = Dataset.from_dict({"item": list(range(24)), "title": [f"t{n}" for n in range(24)]})
    settings = DataSection.model_validate({"source": "files", **section})
    label = task.label() if task.label() in task.needs() else None
    wanted = Wanted(label, task.needs(), task.reads_feedback(True))
    data = prepare(RawTables(table, catalog, origin="events.csv"), wanted, settings, 13)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(24, HIDDEN, generator=generator)
    vectors[:, 0] += torch.tensor([3.0 if int(item) % 2 else -3.0 for item in data.catalog.ids])
    return ToyWorld(task, data, vectors, with_steps)

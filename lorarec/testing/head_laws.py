"""check_task_head: what every task head must do."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Batch, Collation, Head, Interactions, NegativeSampler, Part, PointwiseHead, TaskHead, View
from lorarec.data.history import Histories, feedback_column
from lorarec.data.requests import interactions_from_requests
from lorarec.data.statistics import statistics_of
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.tiny_backbone import HIDDEN, tiny_backbone
from lorarec.testing.tiny_data import ITEMS, tiny_catalog

USERS = 6
EVENTS_EACH = 6


def check_task_head(head_class: type[TaskHead], micro_batches: bool = True, **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the head breaks.

    It is picklable; its examples name the event they are about; a batch's losses are one finite number a target, whose
    sum reaches every weight of the head; those of micro-batches are those of the batch (`micro_batches=False` for heads
    that let the targets of a batch take part in each other's losses); `refresh` is repeatable and leaves the weights
    alone; predictions are one finite number an example and are made without labels, for requests as for the rows of a
    part. `options` are settings as in a recipe.
    """
    check_plugin(head_class)
    head = head_class(head_class.Config.model_validate(options))
    assert type(pickle.loads(pickle.dumps(head))) is head_class, "a head must be picklable"
    interactions = tiny_interactions()
    missing = head.needs() - set(interactions.table.column_names)
    assert not missing, f"needs names columns that lorarec does not know: {sorted(missing)}"
    histories = Histories.of(interactions, "past", feedback_column(interactions), 3.0, "time")
    examples = head.examples(interactions, histories, Part.TRAIN)
    assert "event" in examples.column_names, "examples must have the column 'event'"
    events = np.asarray(examples["event"])
    assert np.isin(events, interactions.rows(Part.TRAIN)).all(), "examples are about events of another part"
    columns = {name: np.asarray(examples[name]) for name in examples.column_names}
    rows = columns | {"row": np.arange(len(events))}
    features = {name: np.eye(ITEMS, dtype=np.float32) for name in head.item_columns()}
    statistics = replace(statistics_of(interactions, head.label(), ITEMS, 3.0), item_features=features)
    torch.manual_seed(0)
    module = head.build(HIDDEN, statistics)
    assert all(p.dtype == torch.float32 for p in module.parameters()), "a head's weights must be float32"
    collation = _collation(interactions, histories, training=True)
    _check_losses(module, head.collate(rows, collation))
    if micro_batches:
        halves = [{name: column[part] for name, column in rows.items()} for part in (slice(0, 7), slice(7, None))]
        _check_micro_batches(module, head.collate(rows, collation), [head.collate(h, collation) for h in halves])
    _check_refresh(module)
    if isinstance(module, PointwiseHead):
        _check_scores(module, head.collate(rows, _collation(interactions, histories, training=False)), len(events))
        judged = head.examples(interactions, histories, Part.TEST).column_names
        assert "label" in judged, "examples must have the column 'label', by which metrics judge the scores"
        _check_answers(head, module)


def tiny_interactions() -> Interactions:
    """Six users with six events each: ratings of 1 to 5, clicks, times; the last two of each are held out."""
    from datasets import Dataset

    count = USERS * EVENTS_EACH
    generator = np.random.default_rng(0)
    rating = generator.integers(1, 6, count).astype(np.float64)
    table = Dataset.from_dict(
        {
            "user": np.repeat(np.arange(USERS), EVENTS_EACH),
            "item": np.concatenate([generator.permutation(ITEMS)[:EVENTS_EACH] for _ in range(USERS)]),
            "time": np.tile(np.arange(EVENTS_EACH, dtype=np.float64), USERS),
            "rating": rating,
            "click": (rating > 3).astype(np.float64),
        }
    )
    part = np.tile([Part.TRAIN] * (EVENTS_EACH - 2) + [Part.VALIDATION, Part.TEST], USERS).astype(np.int8)
    return Interactions(table, [f"u{user}" for user in range(USERS)], part)


class _Encoder:
    """Views through a small random transformer."""

    def __init__(self, batch: Batch) -> None:
        self._backbone = tiny_backbone().load(tiny_catalog(), seed=0)
        self._batch = batch

    def __call__(self, views: str) -> Tensor:
        wanted = self._batch.views[views]
        encoded = [self._backbone.encode(self._backbone.module, chunk) for chunk in wanted.chunks]
        return torch.cat([one.pooled for one in encoded]).detach()[wanted.order]

    def steps(self, views: str) -> Tensor | None:
        return None


def _collation(interactions: Interactions, histories: Histories, training: bool) -> Collation:
    return Collation(
        interactions=interactions,
        histories=histories,
        featurizer=tiny_backbone().featurizer(tiny_catalog(), 30),
        negatives=NegativeSampler(seed=0, catalog_size=ITEMS),
        catalog_size=ITEMS,
        training=training,
        catalog=tiny_catalog(),
    )


def _check_losses(module: Head, batch: Batch) -> None:
    assert batch.count > 0, "a batch must count its supervised targets"
    losses = module.losses(_Encoder(batch), batch)
    shape = tuple(losses.shape)
    assert shape == (batch.count,), f"losses must give one number a target, [{batch.count}], not {shape}"
    assert losses.dtype == torch.float32, f"losses must be float32, not {losses.dtype}"
    assert losses.isfinite().all(), "losses are not finite"
    if batch.events is not None:
        events = tuple(batch.events.shape)
        assert events == shape, f"Batch.events must name one row a target, {shape}, not {events}"
    torch.autograd.backward(_total(module, batch, losses))
    dead = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert not dead, f"weights of the head get no gradient: {dead}"


def _total(module: Head, batch: Batch, losses: Tensor) -> Tensor:
    regularizer = module.regularizer(batch)
    if regularizer is None:
        return losses.sum()
    assert regularizer.shape == (), f"the regularizer must be one number, not of shape {tuple(regularizer.shape)}"
    return losses.sum() + regularizer


def _check_micro_batches(module: Head, whole: Batch, parts: list[Batch]) -> None:
    counts = [part.count for part in parts]
    assert sum(counts) == whole.count, f"micro-batches count {counts} targets, their batch {whole.count}"
    training = module.training
    module.eval()  # dropout would draw otherwise
    with torch.no_grad():
        sums = [_total(module, part, module.losses(_Encoder(part), part)) for part in (whole, *parts)]
    module.train(training)
    apart = abs(float(sum(sums[1:])) - float(sums[0]))
    assert apart <= 1e-4 * max(1.0, abs(float(sums[0]))), (
        f"the losses of micro-batches add up to {float(sum(sums[1:])):g}, those of their batch to {float(sums[0]):g}"
    )


def _check_refresh(module: Head) -> None:
    backbone = tiny_backbone().load(tiny_catalog(), seed=0)
    features = tiny_backbone().featurizer(tiny_catalog(), 30)([View(candidate=item) for item in range(ITEMS)])
    weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with torch.no_grad():
        pooled = backbone.encode(backbone.module, features).pooled
        module.refresh(pooled)
        once = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.refresh(pooled)
    changed = [name for name, weight in module.named_parameters() if not torch.equal(weight, weights[name])]
    assert not changed, f"refresh must leave weights that train as they are, but changes {changed}"
    unlike = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, once[name])]
    assert not unlike, f"refresh must find the same whenever it is called with the same, but not so for {unlike}"


def _check_answers(head: TaskHead, module: PointwiseHead) -> None:
    """A finished run is asked: rows of a history and an item, and nothing else."""
    items = list(range(ITEMS))
    asked = interactions_from_requests([[0, 1]] * ITEMS, None, items, None, [])
    histories = Histories.of(asked, "past", None, 3.0, "time")
    try:
        examples = head.examples(asked, histories, Part.TEST)
    except KeyError as error:
        raise AssertionError(
            f"examples must be made of requests, which have no rating, click or time: {error}"
        ) from error
    events = np.asarray(examples["event"])
    assert events.tolist() == items, "examples of requests must be one a row, in order"
    rows = {name: np.asarray(examples[name]) for name in examples.column_names} | {"row": np.arange(ITEMS)}
    _check_scores(module, head.collate(rows, _collation(asked, histories, training=False)), ITEMS)


def _check_scores(module: PointwiseHead, batch: Batch, count: int) -> None:
    with torch.no_grad():
        scores = module.eval().score(_Encoder(batch), batch)
    shape = tuple(scores.shape)
    assert shape == (count,), f"score must give one number an example, [{count}], not {shape}"
    assert scores.isfinite().all(), "scores are not finite"

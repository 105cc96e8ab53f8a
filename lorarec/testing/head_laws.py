"""check_task_head: what every task head must do."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Backbone,
    Batch,
    Collation,
    Examples,
    Head,
    Interactions,
    NegativeSampler,
    Part,
    Predictions,
    Requests,
    Statistics,
    TaskHead,
    TrainingPlan,
    View,
)
from lorarec.data.history import Histories, feedback_column
from lorarec.data.statistics import statistics_of
from lorarec.inference.recommender import Recommender
from lorarec.model.encoded_catalog import encoded_on_one_process
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.tiny import HIDDEN, ITEMS, made, tiny_backbone, tiny_catalog

USERS = 6
EVENTS_EACH = 6


def check_task_head(head_class: type[TaskHead], micro_batches: bool = True, **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the head breaks.

    It is picklable; its examples have the column `event`; a batch's losses are one finite number per target, whose sum
    has a gradient for every weight of the head; those of micro-batches add up to those of the batch
    (`micro_batches=False` for heads whose losses depend on the other targets of a batch); `refresh` is repeatable and
    does not change trainable weights; its predictor gives one finite prediction per example, without labels, for
    requests as for the rows of a part. A head whose `label` is not among its `needs` makes the labels itself and is
    given data without that column. `options` are settings as in a recipe.
    """
    check_plugin(head_class)
    head = made(head_class, **options)
    assert type(pickle.loads(pickle.dumps(head))) is head_class, "a head must be picklable"
    interactions = tiny_interactions()
    missing = head.needs() - set(interactions.table.column_names)
    assert not missing, f"needs names columns that lorarec does not know: {sorted(missing)}"
    interactions, label = _labeled(head, interactions)
    histories = Histories.of(interactions, "past", feedback_column(interactions), 3.0, "time")
    examples = head.examples(interactions, histories, Part.TRAIN)
    assert "event" in examples.column_names, "examples must have the column 'event'"
    events = np.asarray(examples["event"])
    assert np.isin(events, interactions.rows(Part.TRAIN)).all(), "examples are about events of another part"
    columns = {name: np.asarray(examples[name]) for name in examples.column_names}
    rows = columns | {"row": np.arange(len(events))}
    features = {name: np.eye(ITEMS, dtype=np.float32) for name in head.item_columns()}
    statistics = replace(statistics_of(interactions, label, ITEMS, 3.0), item_features=features)
    torch.manual_seed(0)
    module = head.build(HIDDEN, statistics)
    assert all(p.dtype == torch.float32 for p in module.parameters()), "a head's weights must be float32"
    collation = _collation(interactions, histories, training=True)
    _check_losses(module, head.collate(rows, collation))
    if micro_batches:
        halves = [{name: column[part] for name, column in rows.items()} for part in (slice(0, 7), slice(7, None))]
        _check_micro_batches(module, head.collate(rows, collation), [head.collate(h, collation) for h in halves])
    _check_refresh(module)
    backbone = tiny_backbone().load(tiny_catalog(), seed=0)
    model = RecModel(backbone, _Unadapted(_Unadapted.Config()), backbone.module, module).eval()
    held_out = head.examples(interactions, histories, Part.TEST)
    _check_predictions(model, Examples(held_out, head, _collation(interactions, histories, training=False)))
    _check_answers(head, model, statistics)


def _labeled(head: TaskHead, interactions: Interactions) -> tuple[Interactions, str | None]:
    """The interactions and their label; both without it if the head makes its labels."""
    label = head.label()
    if label is None or label in head.needs():
        return interactions, label
    return replace(interactions, table=interactions.table.remove_columns(label)), None


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
    """Encodes views with a small random transformer."""

    def __init__(self, batch: Batch) -> None:
        self._backbone = tiny_backbone().load(tiny_catalog(), seed=0)
        self._batch = batch

    def vectors(self, views: str) -> Tensor:
        wanted = self._batch.views[views]
        encoded = [self._backbone.encode(self._backbone.module, chunk) for chunk in wanted.chunks]
        return torch.cat([one.pooled for one in encoded]).detach()[wanted.order]

    def states(self, views: str) -> Tensor | None:
        return None

    def logits(self, views: str, tokens: Sequence[str]) -> Tensor:
        return self.vectors(views)[:, : len(tokens)]

    def reference(self) -> AbstractContextManager[None]:
        return nullcontext()


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
    difference = abs(float(sum(sums[1:])) - float(sums[0]))
    assert difference <= 1e-4 * max(1.0, abs(float(sums[0]))), (
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
    assert not changed, f"refresh must not change trainable weights, but changes {changed}"
    different = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, once[name])]
    assert not different, f"refresh must give the same results for the same inputs, but differs in {different}"


@torch.no_grad()
def _check_predictions(model: RecModel, examples: Examples) -> None:
    """One finite prediction for each held-out example, and one number per example in each kept column."""
    predictor, table = examples.predictor, None
    if predictor.has_item_vectors or examples.reads_items():
        table = encoded_on_one_process(encoder_of(model), examples.collation, torch.device("cpu"))
    predictions = Predictions.joined(
        list(predictor.predict(AskedModel(model), examples, examples.blocks(4), (), table))
    )
    assert predictions.rows.tolist() == list(range(len(examples))), "predict must answer about each example once"
    assert set(predictions.answers) & set(predictor.reads), (
        f"predict gives {set(predictions.answers)}, none of which `reads` names"
    )
    for name, answers in predictions.answers.items():
        _check_finite(answers, f"predictions '{name}'")
    try:
        kept = predictor.kept(predictions, examples)
    except KeyError as error:
        raise AssertionError(f"examples must have the column {error}, by which predictions are evaluated") from error
    for name, column in kept.items():
        assert column.shape == (len(examples),), f"'{name}' must be one number per example, not {column.shape}"


def _check_answers(head: TaskHead, model: RecModel, statistics: Statistics) -> None:
    """Requests to a finished run: a history and an item each, and nothing else."""
    requests = Requests.of([[0, 1]] * ITEMS, None, list(range(ITEMS)), 3.0)
    try:
        rows = head.requests(requests)
    except KeyError as error:
        raise AssertionError(
            f"requests must be answered without further columns: they have no rating, click or time, but one is read: "
            f"{error}"
        ) from error
    events = np.asarray(rows["event"])
    assert events.tolist() == list(range(ITEMS)), "the rows of requests must be one per request, in order"
    catalog, featurizer = tiny_catalog(), tiny_backbone().featurizer(tiny_catalog(), 30)
    run = Recommender(Path(), {}, catalog, statistics, head, model, featurizer, seed=0)
    with torch.no_grad():
        run.item_vectors = run.predictor.item_vectors(AskedModel(model), run.table())
    feedback = [[run.statistics.liked_above + 1.0] * 2] * ITEMS
    answers = run.predict(catalog.ids, [catalog.ids[:2]] * ITEMS, feedback)
    assert answers.shape == (ITEMS,), f"there must be one answer a request, [{ITEMS}], not {answers.shape}"
    _check_finite(answers, "answers to requests")


def _check_finite(values: np.ndarray, what: str) -> None:
    if np.issubdtype(values.dtype, np.number):
        assert np.isfinite(values).all(), f"{what} are not finite"


class _Unadapted(Adapter):
    """Does not change the backbone."""

    name = "unadapted"
    summary = "the bare backbone"

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        return backbone.module

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Writes nothing."""

    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        return backbone.module

    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        return module

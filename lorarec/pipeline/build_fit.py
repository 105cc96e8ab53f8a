"""Build a run's loop: loader, optimizer, schedule, callbacks and checkpoints around a model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.profiler import record_function

from lorarec.artifact import layout
from lorarec.artifact.writer import RunWriter
from lorarec.contracts import Callback, Part, RetrievalHead, TrainingPlan, TrainState
from lorarec.engine.callback_list import CallbackList
from lorarec.engine.checkpoint import Checkpoints
from lorarec.engine.dead_weights import DeadWeights
from lorarec.engine.early_stopping import EarlyStopping
from lorarec.engine.evaluate import Predictions, plain_model, predict, refresh_head, shared_metrics, table_for
from lorarec.engine.fit import Fit
from lorarec.engine.guards import Guards, Latest, sample_of
from lorarec.engine.history_file import HistoryFile
from lorarec.engine.loader import Loader
from lorarec.engine.optimizer import build_optimizer, build_schedule
from lorarec.engine.profile import Profile
from lorarec.engine.progress import ProgressReport
from lorarec.engine.tracking import Tracking
from lorarec.model.item_table import is_sharded, item_table
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import trainable_names
from lorarec.pipeline.assemble import Materials


@dataclass(frozen=True)
class Session:
    """One training run as it goes: what it is made of, where it is written, on what it runs."""

    materials: Materials
    writer: RunWriter
    accelerator: Accelerator
    settings: Mapping[str, Any]
    """The recipe with every default."""
    latest: dict[Part, Predictions] = field(default_factory=dict)
    """What the latest evaluation of each part found; empty before the first."""
    vectors: dict[Part, Tensor] = field(default_factory=dict)
    """Vectors [m, d] of some of the items at that evaluation, where items have any."""
    warned: dict[str, str] = field(default_factory=dict)
    """What the guards warned of, by kind."""

    def loader(self) -> Loader:
        """The training examples in optimizer steps."""
        train = self.materials.resolved.recipe.train
        return Loader(
            self.materials.examples[Part.TRAIN],
            self.materials.resolved.recipe.seed,
            train.batch_size,
            train.accumulate,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            train.shuffle_block,
        )

    def plan(self, loader: Loader) -> TrainingPlan:
        """How long the run is."""
        recipe = self.materials.resolved.recipe
        total = recipe.train.epochs * loader.steps_per_epoch
        return TrainingPlan(min(total, recipe.train.max_steps or total), recipe.train.epochs, recipe.seed)

    def metrics(self, model: torch.nn.Module, part: Part, table: Tensor | None) -> dict[str, float]:
        """The recipe's metrics of the present weights on one part; empty where the part is."""
        materials = self.materials
        if not len(materials.examples[part]):
            return {}
        table = table_for(model, materials.examples[part], self.accelerator) if table is None else table
        refresh_head(model, table, self.accelerator)
        predictions = self.predictions(model, part, table)
        return shared_metrics(predictions, materials.examples[part], materials.metrics, self.accelerator)

    def predictions(self, model: torch.nn.Module, part: Part, table: Tensor | None) -> Predictions:
        """What the model says of each example of a part. `table`: item vectors of its weights, if it has any."""
        materials, batch_size = self.materials, self.materials.resolved.recipe.evaluate.batch_size
        found = predict(model, materials.examples[part], materials.metrics, self.accelerator, batch_size, table)
        self.latest[part] = found
        if table is not None and not is_sharded(self.accelerator):
            self.vectors[part] = _some_vectors(plain_model(model, self.accelerator), table)
        return found

    def latest_validation(self) -> Latest | None:
        """For the guards."""
        found, examples = self.latest.get(Part.VALIDATION), self.materials.examples[Part.VALIDATION]
        if found is None:
            return None
        labels = examples.labels()[found.rows] if examples.head.kind == "pointwise" else None
        return Latest(found.scores, labels, self.vectors.get(Part.VALIDATION))


@torch.no_grad()
def _some_vectors(model: torch.nn.Module, table: Tensor) -> Tensor:
    """[m, d] the vectors that items are compared by, of a sample of them."""
    rows = torch.from_numpy(sample_of(len(table))).to(table.device)
    head = model.head
    if not isinstance(head, RetrievalHead):
        return table[rows]
    return head.likeness_vectors(head.item_vectors(table[rows], rows))


def build_fit(session: Session, model: RecModel, loader: Loader, plan: TrainingPlan) -> Fit:
    """The loop of a run, ready to start at its first step."""
    train, accelerator = session.materials.resolved.recipe.train, session.accelerator
    names = trainable_names(model)
    optimizer = build_optimizer(model, train)
    schedule = build_schedule(optimizer, train, plan.total_steps)
    table = _unchanging_table(model, loader, accelerator)
    if table is not None:
        loader = replace(loader, examples=loader.examples.with_table())
    # The schedule is not prepared: accelerate would step it once a process.
    prepared, optimizer = accelerator.prepare(model, optimizer)
    dead_weights = DeadWeights(model, optimizer, accelerator, session.warned)
    callbacks = CallbackList([*_callbacks(session, model), dead_weights])
    folder = session.writer.folder / layout.CHECKPOINTS
    kept = train.keep_checkpoints
    monitor = session.materials.metrics[0]
    sign = 1 if monitor.metric.higher_is_better else -1
    return Fit(
        recipe=session.materials.resolved.recipe,
        accelerator=accelerator,
        model=prepared,
        optimizer=optimizer,
        schedule=schedule,
        loader=loader,
        callbacks=callbacks,
        checkpoints=Checkpoints(folder, kept, names, prepared, optimizer, schedule, callbacks, accelerator),
        validate=lambda: session.metrics(prepared, Part.VALIDATION, table),
        is_better=lambda value, best: value == value and (best is None or sign * value > sign * best),
        monitor=monitor.label,
        table=table,
        part=record_function if train.profile else nullcontext,  # the former costs 7 microseconds even when idle
        state=TrainState(total_steps=plan.total_steps),
    )


@torch.no_grad()
def _unchanging_table(model: RecModel, loader: Loader, accelerator: Accelerator) -> Tensor | None:
    """Where nothing below the head trains, every item is encoded once for the whole run."""
    if model.network_trains or not loader.examples.reads_items():
        return None
    model.to(accelerator.device).eval()
    with accelerator.autocast():  # as evaluation of the finished run will encode them
        return item_table(model, loader.examples.collation, accelerator)


def _callbacks(session: Session, model: RecModel) -> list[Callback]:
    """The adapter's, the recipe's, and the stock ones; those that write or print on the main process only."""
    resolved, writer = session.materials.resolved, session.writer
    found = [*model.adapter.callbacks(model.network), *resolved.callbacks]
    found.append(Guards(resolved.head, session.latest_validation, session.warned))
    patience = resolved.recipe.evaluate.patience
    if patience is not None:
        found.append(EarlyStopping(EarlyStopping.Config(patience=patience)))
    if session.accelerator.is_main_process:
        found += [HistoryFile(writer.folder / layout.HISTORY), ProgressReport()]
    if resolved.recipe.train.trackers:
        found.append(Tracking(session.accelerator, resolved.recipe.name, dict(session.settings)))
    if resolved.recipe.train.profile and session.accelerator.is_main_process:
        found.append(Profile(writer.folder / layout.PROFILE, session.accelerator.device))
    return found

"""Build a run's loop: loader, optimizer, schedule, callbacks and checkpoints around a model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.profiler import record_function

from lorarec.artifact import layout
from lorarec.artifact.writer import RunWriter
from lorarec.contracts import Callback, Part, TrainingPlan, TrainState
from lorarec.engine.callbacks import CallbackList, EarlyStopping, ProgressReport
from lorarec.engine.checkpoint import Checkpoints
from lorarec.engine.fit import Fit
from lorarec.engine.guards import Guards, moved_weights
from lorarec.engine.loader import Loader
from lorarec.engine.optimizer import build_optimizer, build_schedule
from lorarec.engine.profile import Profile
from lorarec.engine.step import OptimizerStep
from lorarec.engine.tracking import HistoryFile, Tracking
from lorarec.evaluation.evaluate import Evaluation, evaluate
from lorarec.model.item_table import item_table
from lorarec.model.rec_model import RecModel, encoder_of
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

    def evaluate(self, model: torch.nn.Module, part: Part, table: Tensor | None) -> Evaluation | None:
        """The present weights judged on one part; None where it has no examples.

        `table`: item vectors of these very weights, if known; without it they are encoded again.
        """
        materials = self.materials
        batch_size = materials.resolved.recipe.evaluate.batch_size
        return evaluate(model, materials.examples[part], materials.metrics, self.accelerator, batch_size, table)


def build_fit(session: Session, model: RecModel, loader: Loader, plan: TrainingPlan) -> Fit:
    """The loop of a run, ready to start at its first step."""
    train, accelerator = session.materials.resolved.recipe.train, session.accelerator
    names = trainable_names(model)
    table = _unchanging_table(model, loader, accelerator)
    if table is not None:
        loader = replace(loader, examples=loader.examples.with_table())
    step = build_step(session.materials, accelerator, model, plan, table)
    guards = Guards(loader.examples.predictor.tells_apart(), lambda: moved_weights(model, step.optimizer, accelerator))
    callbacks = CallbackList(_callbacks(session, model, guards))
    folder = session.writer.folder / layout.CHECKPOINTS
    kept = train.keep_checkpoints
    monitor = session.materials.metrics[0]
    sign = 1 if monitor.metric.higher_is_better else -1
    return Fit(
        recipe=session.materials.resolved.recipe,
        accelerator=accelerator,
        model=step.model,
        optimizer_step=step,
        loader=loader,
        callbacks=callbacks,
        guards=guards,
        checkpoints=Checkpoints(folder, kept, names, step, callbacks, accelerator),
        validate=lambda: session.evaluate(step.model, Part.VALIDATION, table),
        is_better=lambda value, best: value == value and (best is None or sign * value > sign * best),
        monitor=monitor.label,
        part=step.part,
        state=TrainState(total_steps=plan.total_steps),
    )


@torch.no_grad()
def _unchanging_table(model: RecModel, loader: Loader, accelerator: Accelerator) -> Tensor | None:
    """Where nothing below the head trains, every item is encoded once for the whole run."""
    if model.network_trains or not loader.examples.reads_items():
        return None
    model.to(accelerator.device).eval()
    with accelerator.autocast():  # as evaluation of the finished run will encode them
        return item_table(encoder_of(model), loader.examples.collation, accelerator)


def build_step(
    materials: Materials, accelerator: Accelerator, model: RecModel, plan: TrainingPlan, table: Tensor | None
) -> OptimizerStep:
    """The optimizer step of a run, with the model wrapped as the devices ask for it."""
    recipe = materials.resolved.recipe
    optimizer = build_optimizer(model, recipe.train)
    schedule = build_schedule(optimizer, recipe.train, plan.total_steps)
    # The schedule is not prepared: accelerate would step it once a process.
    prepared, optimizer = accelerator.prepare(model, optimizer)
    return OptimizerStep(
        accelerator=accelerator,
        model=prepared,
        optimizer=optimizer,
        schedule=schedule,
        plugin=materials.resolved.step,
        seed=recipe.seed,
        max_grad_norm=recipe.train.max_grad_norm,
        table=table,
        part=record_function if recipe.train.profile else nullcontext,  # the former costs 7 microseconds even when idle
    )


def _callbacks(session: Session, model: RecModel, guards: Guards) -> list[Callback]:
    """The adapter's, the recipe's, and the stock ones; those that write or print on the main process only."""
    resolved, writer = session.materials.resolved, session.writer
    found = [*model.adapter.callbacks(model.network), *resolved.callbacks]
    found.append(guards)
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

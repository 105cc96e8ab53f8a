"""Build the training loop of a run: loader, optimizer, schedule, callbacks and checkpoints."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.profiler import record_function

from lorarec.artifact import layout
from lorarec.config.recipe import Recipe
from lorarec.contracts import Callback, Examples, Part, TrainingPlan, TrainState
from lorarec.engine.callbacks import CallbackList, EarlyStopping, ProgressReport
from lorarec.engine.checkpoint import Checkpoints
from lorarec.engine.fit import Fit
from lorarec.engine.guards import Guards, moved_weights
from lorarec.engine.loader import Loader
from lorarec.engine.optimizer import OptimizerStep, build_optimizer, build_schedule
from lorarec.engine.profile import Profile
from lorarec.engine.sharding import shard
from lorarec.engine.tracking import HistoryFile, Tracking
from lorarec.evaluation.evaluate import evaluate
from lorarec.model.encoded_catalog import encoded_catalog, is_sharded
from lorarec.model.rec_model import RecModel, encoder_of
from lorarec.model.trainable import trainable_names
from lorarec.pipeline.assemble import RunData
from lorarec.registry.resolve import ResolvedRecipe, full_recipe


def training_loader(examples: Examples, recipe: Recipe, process: int = 0, processes: int = 1) -> Loader:
    """The loader of the training examples for the process with index `process` of `processes`."""
    train = recipe.train
    return Loader(
        examples, recipe.seed, train.batch_size, train.accumulate, process, processes, train.shuffle_block_size
    )


def training_plan(recipe: Recipe, steps_per_epoch: int) -> TrainingPlan:
    """Length of the run in steps and epochs, and its seed."""
    total = recipe.train.epochs * steps_per_epoch
    return TrainingPlan(min(total, recipe.train.max_steps or total), recipe.train.epochs, recipe.seed)


@torch.no_grad()
def unchanging_table(model: RecModel, examples: Examples, accelerator: Accelerator) -> Tensor | None:
    """[N, D] every item, encoded once for the whole run, if nothing below the head trains; None otherwise."""
    if model.network_trains or not examples.reads_items():
        return None
    model.to(accelerator.device).eval()
    with accelerator.autocast():  # as the evaluation of the finished run encodes them
        return encoded_catalog(encoder_of(model), examples.collation, accelerator)


def build_step(
    resolved: ResolvedRecipe, model: RecModel, plan: TrainingPlan, table: Tensor | None, accelerator: Accelerator
) -> OptimizerStep:
    """The optimizer step of a run, with the model prepared by the accelerator. `table`: of `unchanging_table`."""
    recipe = resolved.recipe
    if is_sharded(accelerator):
        shard(model, accelerator)
    optimizer = build_optimizer(model, recipe.train)
    schedule = build_schedule(optimizer, recipe.train, plan.total_steps)
    # The schedule is not prepared: accelerate would step it once for each process.
    if is_sharded(accelerator):
        prepared, optimizer = model, accelerator.prepare_optimizer(optimizer)
    else:
        prepared, optimizer = accelerator.prepare(model, optimizer)
    return OptimizerStep(
        accelerator=accelerator,
        model=prepared,
        optimizer=optimizer,
        schedule=schedule,
        plugin=resolved.step,
        seed=recipe.seed,
        max_grad_norm=recipe.train.max_grad_norm,
        table=table,
        mark=record_function if recipe.train.profile else nullcontext,  # the former costs 7 microseconds even when idle
    )


def build_fit(
    run_data: RunData,
    model: RecModel,
    plan: TrainingPlan,
    table: Tensor | None,
    folder: Path,
    accelerator: Accelerator,
) -> Fit:
    """The training loop of a run, ready for its first step.

    `table`: of `unchanging_table`; `folder`: the folder to which the run is written.
    """
    resolved, recipe = run_data.resolved, run_data.resolved.recipe
    examples = run_data.examples[Part.TRAIN] if table is None else run_data.examples[Part.TRAIN].with_items_encoded()
    names = trainable_names(model)
    step = build_step(resolved, model, plan, table, accelerator)
    guards = Guards(examples.predictor.tells_apart(), lambda: moved_weights(model, step.optimizer, accelerator))
    callbacks = CallbackList(_callbacks(resolved, model, guards, folder, accelerator))
    checkpoints = folder / layout.CHECKPOINTS
    monitor = run_data.metrics[0]
    sign = 1 if monitor.metric.higher_is_better else -1
    validation, batch_size = run_data.examples[Part.VALIDATION], recipe.evaluate.batch_size
    return Fit(
        recipe=recipe,
        accelerator=accelerator,
        model=step.model,
        optimizer_step=step,
        loader=training_loader(examples, recipe, accelerator.process_index, accelerator.num_processes),
        callbacks=callbacks,
        guards=guards,
        checkpoints=Checkpoints(checkpoints, recipe.train.keep_checkpoints, names, step, callbacks, accelerator),
        validate=lambda: evaluate(step.model, validation, run_data.metrics, accelerator, batch_size, table),
        is_better=lambda value, best: best is None or sign * value > sign * best,
        monitor=monitor.label,
        mark=step.mark,
        state=TrainState(total_steps=plan.total_steps),
    )


def _callbacks(
    resolved: ResolvedRecipe, model: RecModel, guards: Guards, folder: Path, accelerator: Accelerator
) -> list[Callback]:
    """Callbacks of the adapter and the recipe, and the built-in ones; those that write or print only on the main
    process."""
    callbacks = [*model.adapter.callbacks(model.network), *resolved.callbacks, guards]
    patience = resolved.recipe.evaluate.patience
    if patience is not None:
        callbacks.append(EarlyStopping(EarlyStopping.Config(patience=patience)))
    if accelerator.is_main_process:
        callbacks += [HistoryFile(folder / layout.HISTORY), ProgressReport()]
    if resolved.recipe.train.trackers:
        callbacks.append(Tracking(accelerator, resolved.recipe.name, full_recipe(resolved)))
    if resolved.recipe.train.profile and accelerator.is_main_process:
        callbacks.append(Profile(folder / layout.PROFILE, accelerator.device))
    return callbacks

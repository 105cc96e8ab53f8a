"""Train a recipe into a run folder."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from lorarec.artifact import layout
from lorarec.artifact.recommender import Recommender
from lorarec.artifact.writer import RunWriter
from lorarec.config.yaml_text import write_yaml
from lorarec.contracts import Part, TrainingPlan, TrainState
from lorarec.engine.baselines import baseline_metrics
from lorarec.engine.callback_list import CallbackList
from lorarec.engine.checkpoint import Checkpoints
from lorarec.engine.early_stopping import EarlyStopping
from lorarec.engine.evaluate import evaluate, plain_model
from lorarec.engine.fit import Fit
from lorarec.engine.history_file import HistoryFile
from lorarec.engine.loader import Loader
from lorarec.engine.optimizer import build_optimizer, build_schedule
from lorarec.engine.processes import check_processes
from lorarec.engine.progress import ProgressReport
from lorarec.engine.tracking import Tracking
from lorarec.model.item_table import item_table
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import count_weights, trainable_names
from lorarec.pipeline.assemble import Materials, build_model, gather_materials, make_accelerator
from lorarec.pipeline.finish import finish_run
from lorarec.pipeline.open_recipe import open_recipe
from lorarec.pipeline.resume import check_same_backbone, check_unchanged, run_identity
from lorarec.registry.resolve import full_recipe

_log = logging.getLogger(__name__)


def train(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    output: str | Path | None = None,
    resume: bool = False,
) -> Recommender:
    """Train a recipe (a file, a bundled recipe's name, or a mapping) and return the finished run, ready to answer.

    `output`: the run folder, `runs/NAME` by default; it must not exist, and appears whole or not at all. Until then
    the run lies in `OUTPUT.unfinished`, from whose latest checkpoint `resume` goes on, exactly as if never stopped.
    Raises LorarecError for what the caller can mend, and Interrupted after SIGINT or SIGTERM.
    """
    resolved = open_recipe(recipe, overrides)
    writer = RunWriter(Path(output) if output else Path("runs") / resolved.recipe.name, resume)
    accelerator = make_accelerator(resolved, str(writer.folder))
    check_processes(accelerator, resolved.recipe.train.processes)
    with accelerator.main_process_first():  # the first one to read fills the caches
        materials = gather_materials(resolved)
    if accelerator.is_main_process:
        if resume and not writer.resumes:
            _log.warning("%s is not there to go on with: the run starts from the beginning.", writer.folder)
        for line in materials.data.report.warnings():
            _log.warning("%s.", line)
    try:
        return _train(materials, writer, accelerator)
    except BaseException:
        if accelerator.is_main_process:
            writer.discard()
        raise


def _train(materials: Materials, writer: RunWriter, accelerator: Accelerator) -> Recommender:
    started = time.perf_counter()
    recipe = materials.resolved.recipe
    loader = Loader(
        materials.examples[Part.TRAIN],
        recipe.seed,
        recipe.train.batch_size,
        recipe.train.accumulate,
        accelerator.process_index,
        accelerator.num_processes,
    )
    total = recipe.train.epochs * loader.steps_per_epoch
    total = min(total, recipe.train.max_steps or total)
    plan = TrainingPlan(total, recipe.train.epochs, recipe.seed)
    settings = full_recipe(materials.resolved)
    identity = run_identity(materials, accelerator)
    if writer.resumes:
        check_unchanged(writer.folder, settings, identity)
    accelerator.wait_for_everyone()  # nobody writes before all have looked
    if accelerator.is_main_process and not writer.resumes:  # what a resumed run has must survive a full disk
        writer.start(write_yaml(settings))
        writer.write_json(layout.ENVIRONMENT, identity)
    model = build_model(materials, plan, writer.folder if accelerator.is_main_process else None)
    identity["backbone_fingerprint"] = model.backbone.fingerprint()
    if writer.resumes:
        check_same_backbone(writer.folder, identity)
    elif accelerator.is_main_process:
        writer.write_json(layout.ENVIRONMENT, identity)
    weights = count_weights(model)
    fit = _fit(materials, model, loader, plan, writer, accelerator, settings)
    if writer.resumes and (steps := fit.checkpoints.steps()):
        fit.state = fit.checkpoints.load(steps[-1])
    state = fit.run()
    _take_best(fit, state)
    metrics = _measure(materials, fit, accelerator) | {
        "best_step": state.best_step or state.step,
        "steps": state.step,
        "stopped_early": state.stop_reason,
        "trainable_weights": weights.trainable,
        "total_weights": weights.total,
        "train_seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }
    plain = accelerator.unwrap_model(fit.model)
    return finish_run(materials, plain, fit.table, metrics, weights, writer, accelerator)


def _fit(
    materials: Materials,
    model: RecModel,
    loader: Loader,
    plan: TrainingPlan,
    writer: RunWriter,
    accelerator: Accelerator,
    settings: Mapping[str, Any],
) -> Fit:
    recipe = materials.resolved.recipe
    names = trainable_names(model)
    optimizer = build_optimizer(model, recipe.train)
    schedule = build_schedule(optimizer, recipe.train, plan.total_steps)
    table = None
    if not model.network_trains and loader.examples.reads_items():
        # Nothing below the head changes: every item is encoded once for the whole run.
        model.to(accelerator.device).eval()
        with torch.no_grad():
            table = item_table(model, loader.examples.collation, accelerator)
        loader = _with_table(loader)
    # The schedule is not prepared: accelerate would step it once a process.
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    callbacks = CallbackList(
        [
            *model.adapter.callbacks(model.network),
            *materials.resolved.callbacks,
            *_stock_callbacks(recipe.evaluate.patience, writer, accelerator, materials, settings),
        ]
    )
    checkpoints = Checkpoints(
        writer.folder / layout.CHECKPOINTS,
        recipe.train.keep_checkpoints,
        names,
        prepared,
        prepared_optimizer,
        schedule,
        callbacks,
        accelerator,
    )
    monitor = materials.metrics[0]
    higher = monitor.metric.higher_is_better
    return Fit(
        recipe=recipe,
        accelerator=accelerator,
        model=prepared,
        optimizer=prepared_optimizer,
        schedule=schedule,
        loader=loader,
        callbacks=callbacks,
        checkpoints=checkpoints,
        validate=lambda: _metrics(materials, prepared, Part.VALIDATION, accelerator, table),
        is_better=lambda value, best: value == value and (best is None or (value > best if higher else value < best)),
        monitor=monitor.label,
        table=table,
        state=TrainState(total_steps=plan.total_steps),
    )


def _with_table(loader: Loader) -> Loader:
    from dataclasses import replace

    return replace(loader, examples=loader.examples.with_table())


def _stock_callbacks(
    patience: int | None,
    writer: RunWriter,
    accelerator: Accelerator,
    materials: Materials,
    settings: Mapping[str, Any],
) -> list[Any]:
    found: list[Any] = []
    if patience is not None:
        found.append(EarlyStopping(EarlyStopping.Config(patience=patience)))
    if accelerator.is_main_process:
        found += [HistoryFile(writer.folder / layout.HISTORY), ProgressReport()]
    if materials.resolved.recipe.train.trackers:
        found.append(Tracking(accelerator, materials.resolved.recipe.name, dict(settings)))
    return found


def _take_best(fit: Fit, state: TrainState) -> None:
    """Put back the weights that did best on validation."""
    if state.best_step is not None and state.best_step != state.step:
        fit.checkpoints.load_weights(state.best_step)


def _metrics(
    materials: Materials, model: torch.nn.Module, part: Part, accelerator: Accelerator, table: torch.Tensor | None
) -> dict[str, float]:
    batch_size = materials.resolved.recipe.evaluate.batch_size
    return evaluate(model, materials.examples[part], materials.metrics, accelerator, batch_size, table)


def _measure(materials: Materials, fit: Fit, accelerator: Accelerator) -> dict[str, Any]:
    """Metrics of validation and test (read once, here) beside the baselines'."""
    found: dict[str, Any] = {"monitor": fit.monitor, "baselines": {}}
    for part in (Part.VALIDATION, Part.TEST):
        name = part.name.lower()
        if part == Part.VALIDATION and fit.state.best_step == fit.state.step:
            found[name] = dict(fit.state.metrics)  # the weights are those of the last evaluation
        else:
            found[name] = _metrics(materials, plain_model(fit.model, accelerator), part, accelerator, fit.table)
        beside = baseline_metrics(materials.examples[part], materials.metrics, materials.data.statistics)
        for baseline, values in beside.items():
            found["baselines"].setdefault(baseline, {})[name] = values
    return found


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10

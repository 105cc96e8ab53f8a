"""Train a recipe into a run folder."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from lorarec.artifact import layout
from lorarec.artifact.writer import RunWriter
from lorarec.config.yaml_text import write_yaml
from lorarec.contracts import Part, Predictions, TrainingPlan, TrainState
from lorarec.engine.fit import Fit, Trained
from lorarec.engine.processes import check_processes
from lorarec.evaluation.evaluate import evaluate, refresh_head, table_for
from lorarec.inference.recommender import Recommender
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import count_weights
from lorarec.pipeline.assemble import Materials, gather_materials, open_recipe
from lorarec.pipeline.build_fit import build_fit, training_loader, training_plan, unchanging_table
from lorarec.pipeline.build_model import build_model, make_accelerator, warm_start, with_layer_cache
from lorarec.pipeline.evaluate import HELD_OUT, frozen_item_vectors, measure
from lorarec.pipeline.finish import finish_run, kept_scores
from lorarec.pipeline.resume import (
    check_same_backbone,
    check_same_start,
    check_unchanged,
    has_stopped_run,
    run_identity,
)
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
    the run lies in `OUTPUT.unfinished`, from whose latest checkpoint `resume` continues, exactly as if never stopped.
    Raises LorarecError for what the caller can correct, and Interrupted after SIGINT or SIGTERM.
    """
    resolved = open_recipe(recipe, overrides)
    output = Path(output) if output else Path("runs") / resolved.recipe.name
    resumes, writer = has_stopped_run(output, resume), RunWriter(output)
    accelerator = make_accelerator(resolved, str(writer.folder))
    check_processes(accelerator, resolved.recipe.train.processes)
    with accelerator.main_process_first():  # the first one to read fills the caches
        materials = gather_materials(resolved)
    if accelerator.is_main_process:
        if resume and not resumes:
            _log.warning("%s is not there to be resumed: the run starts from the beginning.", writer.folder)
        for line in materials.data.report.warnings():
            _log.warning("%s.", line)
        for leak in materials.leaks:
            _log.warning("Leakage audit, %s: %s", leak.kind, leak.message)
    try:
        return _train(materials, writer, resumes, accelerator)
    except BaseException:
        if accelerator.is_main_process:
            writer.discard()
        raise


def _train(materials: Materials, writer: RunWriter, resumes: bool, accelerator: Accelerator) -> Recommender:
    started, recipe = time.perf_counter(), materials.resolved.recipe
    processes = accelerator.process_index, accelerator.num_processes
    loader = training_loader(materials.examples[Part.TRAIN], recipe, *processes)
    plan = training_plan(recipe, loader.steps_per_epoch)
    model, identity = _begin(materials, plan, writer, resumes, accelerator)
    weights = count_weights(model)
    frozen = _frozen_vectors(materials, model, accelerator)
    materials = with_layer_cache(materials, model, accelerator)
    examples = materials.examples[Part.TRAIN]
    table = unchanging_table(model, examples, accelerator)
    fit = build_fit(materials, model, plan, table, writer.folder, accelerator)
    if resumes:
        fit.resume()
    trained = fit.run()
    _take_best(fit, trained.state)
    if table is None:  # the weights are final: the catalog is encoded once for all that is left to do
        table = table_for(fit.model, examples, accelerator)
    refresh_head(fit.model, table, accelerator)
    predictions = _final_predictions(materials, fit, trained, table)
    metrics = {"monitor": fit.monitor} | measure(materials, predictions, table if _is_bare(model) else frozen)
    metrics |= {
        "best_step": trained.state.best_step or trained.state.step,
        "steps": trained.state.step,
        "stopped_early": trained.state.stop_reason,
        "warnings": trained.warnings,
        "trainable_weights": weights.trainable,
        "total_weights": weights.total,
        "train_seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }
    plain = accelerator.unwrap_model(fit.model, keep_fp32_wrapper=False)
    kept = kept_scores(materials.examples, predictions)
    return finish_run(materials, plain, table, metrics, kept, identity, writer, accelerator)


def _begin(
    materials: Materials, plan: TrainingPlan, writer: RunWriter, resumes: bool, accelerator: Accelerator
) -> tuple[RecModel, dict[str, Any]]:
    """The model before its first step, and what the run is made with, for environment.json; its folder is begun, or
    it is made sure that the stopped run in it is the same one."""
    resolved, folder = materials.resolved, writer.folder
    settings, identity = full_recipe(resolved), run_identity(materials, accelerator)
    recorded = check_unchanged(folder, settings, identity) if resumes else {}
    accelerator.wait_for_everyone()  # nobody writes before all have looked
    writes = accelerator.is_main_process and not resumes  # what a resumed run has must survive a full disk
    if writes:
        writer.start(write_yaml(settings))
        writer.write_json(layout.ENVIRONMENT, identity)
    model = build_model(materials, plan, folder if accelerator.is_main_process else None)
    identity["backbone_fingerprint"] = model.backbone.fingerprint()
    check_same_backbone(folder, recorded, identity)
    start = recorded.get("warm_start")
    if not any((folder / layout.CHECKPOINTS).glob("step-*")):  # else the checkpoint's weights are what counts
        start = warm_start(model, resolved)
        check_same_start(recorded.get("warm_start"), start)
    identity |= {} if start is None else {"warm_start": start}
    if writes:
        writer.write_json(layout.ENVIRONMENT, identity)
    return model, identity


def _take_best(fit: Fit, state: TrainState) -> None:
    """Put back the weights that did best on validation."""
    if state.best_step is not None and state.best_step != state.step:
        fit.checkpoints.load_weights(state.best_step)


def _is_bare(model: RecModel) -> bool:
    """Whether items are read as the backbone read them before training."""
    return model.network is model.backbone.module and not model.network_trains


def _frozen_vectors(materials: Materials, model: RecModel, accelerator: Accelerator) -> Tensor | None:
    """The catalog as the untrained backbone reads it, unless the model itself will read it so."""
    if _is_bare(model):
        return None
    collation = materials.examples[Part.TRAIN].collation
    return frozen_item_vectors(materials.resolved, materials.data.catalog, collation, accelerator)


def _final_predictions(
    materials: Materials, fit: Fit, trained: Trained, table: Tensor | None
) -> dict[Part, Predictions]:
    """What the final weights say of validation, unless the last evaluation has it, and of test (read once, here)."""
    fresh = trained.state.best_step == trained.state.step  # the weights are those of the last evaluation
    batch_size = materials.resolved.recipe.evaluate.batch_size
    evaluations = {
        part: trained.evaluation
        if part == Part.VALIDATION and fresh and trained.evaluation is not None
        else evaluate(fit.model, materials.examples[part], materials.metrics, fit.accelerator, batch_size, table)
        for part in HELD_OUT
    }
    return {part: evaluation.predictions for part, evaluation in evaluations.items() if evaluation is not None}


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10

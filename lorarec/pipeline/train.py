"""Train a recipe into a run folder."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lorarec.artifact import layout
from lorarec.artifact.writer import RunWriter
from lorarec.config.yaml_text import write_yaml
from lorarec.contracts import Part, Predictions, TrainingPlan, TrainState
from lorarec.engine.fit import Fit, Trained
from lorarec.engine.processes import check_processes
from lorarec.evaluation.evaluate import refresh_head, table_for
from lorarec.inference.recommender import Recommender
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import count_weights
from lorarec.pipeline.assemble import build_model, gather_materials, make_accelerator, with_layer_cache
from lorarec.pipeline.build_fit import Session, build_fit
from lorarec.pipeline.finish import finish_run, kept_scores
from lorarec.pipeline.measure import HELD_OUT, frozen_item_vectors, measure
from lorarec.pipeline.open_recipe import open_recipe
from lorarec.pipeline.resume import check_same_backbone, check_unchanged, read_facts, run_identity
from lorarec.pipeline.warm_start import check_same_start, warm_start
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
        for finding in materials.leaks:
            _log.warning("Leakage audit, %s: %s", finding.kind, finding.message)
    try:
        return _train(Session(materials, writer, accelerator, full_recipe(resolved)))
    except BaseException:
        if accelerator.is_main_process:
            writer.discard()
        raise


def _train(session: Session) -> Recommender:
    started = time.perf_counter()
    loader = session.loader()
    plan = session.plan(loader)
    model = _begin(session, plan)
    weights = count_weights(model)
    frozen = _frozen_vectors(session, model)
    session = replace(session, materials=with_layer_cache(session.materials, model, session.accelerator))
    fit = build_fit(session, model, session.loader(), plan)
    if session.writer.resumes:
        fit.resume()
    trained = fit.run()
    state = trained.state
    _take_best(fit, state)
    table = fit.optimizer_step.table
    if table is None:  # the weights are final: the catalogue is encoded once for all that is left to do
        table = table_for(fit.model, session.materials.examples[Part.TRAIN], session.accelerator)
    refresh_head(fit.model, table, session.accelerator)
    if _is_bare(model):
        frozen = table
    predictions = _judge(session, fit, trained, table)
    metrics = {"monitor": fit.monitor} | measure(session.materials, predictions, frozen)
    metrics |= {
        "best_step": state.best_step or state.step,
        "steps": state.step,
        "stopped_early": state.stop_reason,
        "warnings": trained.warnings,
        "trainable_weights": weights.trainable,
        "total_weights": weights.total,
        "train_seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }
    plain = session.accelerator.unwrap_model(fit.model, keep_fp32_wrapper=False)
    kept = kept_scores(session.materials.examples, predictions)
    return finish_run(session.materials, plain, table, metrics, kept, weights, session.writer, session.accelerator)


def _begin(session: Session, plan: TrainingPlan) -> RecModel:
    """Begin the run's folder, or make sure that it can be gone on with; build the model."""
    writer, accelerator = session.writer, session.accelerator
    identity = run_identity(session.materials, accelerator)
    if writer.resumes:
        check_unchanged(writer.folder, session.settings, identity)
    accelerator.wait_for_everyone()  # nobody writes before all have looked
    writes = accelerator.is_main_process and not writer.resumes  # what a resumed run has must survive a full disk
    if writes:
        writer.start(write_yaml(dict(session.settings)))
        writer.write_json(layout.ENVIRONMENT, identity)
    model = build_model(session.materials, plan, writer.folder if accelerator.is_main_process else None)
    identity["backbone_fingerprint"] = model.backbone.fingerprint()
    if writer.resumes:
        check_same_backbone(writer.folder, identity)
    if not any((writer.folder / layout.CHECKPOINTS).glob("step-*")):  # else the checkpoint's weights are what counts
        start = warm_start(model, session.materials.resolved)
        identity |= {} if start is None else {"warm_start": start}
        if writer.resumes:
            check_same_start(read_facts(writer.folder / layout.ENVIRONMENT).get("warm_start"), start)
    if writes:
        writer.write_json(layout.ENVIRONMENT, identity)
    return model


def _take_best(fit: Fit, state: TrainState) -> None:
    """Put back the weights that did best on validation."""
    if state.best_step is not None and state.best_step != state.step:
        fit.checkpoints.load_weights(state.best_step)


def _is_bare(model: RecModel) -> bool:
    """Whether items are read as the backbone read them before training."""
    return model.network is model.backbone.module and not model.network_trains


def _frozen_vectors(session: Session, model: RecModel) -> Tensor | None:
    """The catalogue as the untrained backbone reads it, unless the model itself will read it so."""
    if _is_bare(model):
        return None
    return frozen_item_vectors(session.materials, session.accelerator)


def _judge(session: Session, fit: Fit, trained: Trained, table: Tensor | None) -> dict[Part, Predictions]:
    """What the final weights say of validation, unless the last evaluation has it, and of test (read once, here)."""
    fresh = trained.state.best_step == trained.state.step  # the weights are those of the last evaluation
    evaluations = {
        part: trained.evaluation
        if part == Part.VALIDATION and fresh and trained.evaluation is not None
        else session.evaluate(fit.model, part, table)
        for part in HELD_OUT
    }
    return {part: evaluation.predictions for part, evaluation in evaluations.items() if evaluation is not None}


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10

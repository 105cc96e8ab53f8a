"""Train a recipe into a run folder."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from lorarec.artifact import layout
from lorarec.artifact.reader import using
from lorarec.artifact.writer import RunWriter, check_creatable
from lorarec.config.yaml_text import write_yaml
from lorarec.contracts import Part, Predictions, TrainingPlan, TrainState
from lorarec.disk import locked
from lorarec.engine.fit import Fit, Trained
from lorarec.engine.processes import check_processes, on_main_process, sigterm_interrupts
from lorarec.engine.shared_arrays import computed_once
from lorarec.errors import Interrupted
from lorarec.evaluation.evaluate import evaluate, refresh_head, table_for
from lorarec.inference.recommender import Recommender
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import count_weights
from lorarec.pipeline.assemble import RunData, gather_run_data, open_recipe, read_data
from lorarec.pipeline.build_fit import build_fit, training_loader, training_plan, unchanging_table
from lorarec.pipeline.build_model import build_model, make_accelerator, warm_start, with_layer_cache
from lorarec.pipeline.evaluate import HELD_OUT, frozen_item_vectors, measure
from lorarec.pipeline.finish import finish_run, kept_scores
from lorarec.pipeline.stopped_run import (
    check_same_backbone,
    check_same_start,
    check_unchanged,
    has_stopped_run,
    run_identity,
)
from lorarec.registry.faults import plugin_faults
from lorarec.registry.resolve import ResolvedRecipe, full_recipe

_log = logging.getLogger(__name__)


@plugin_faults()
def train(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    output: str | Path | None = None,
    resume: bool = False,
) -> Recommender:
    """Train a recipe (a file, a bundled recipe's name, or a mapping) and return the finished run as a Recommender.

    `output`: the run folder, `runs/NAME` by default; it must not exist, and is created only when the run is complete.
    Until then the run is in `OUTPUT.unfinished`; `resume` continues from its latest checkpoint, with exactly the
    results of an uninterrupted run. One process at a time writes a run. Raises LorarecError for mistakes that the
    caller can fix, and Interrupted after SIGINT or SIGTERM.
    """
    resolved = open_recipe(recipe, overrides)
    output = Path(output) if output else Path("runs") / resolved.recipe.name
    check_creatable(output)
    accelerator = make_accelerator(resolved, str(layout.unfinished(output)))
    check_processes(accelerator, resolved.recipe.train.processes)
    writer = RunWriter(output)
    with sigterm_interrupts(), ExitStack() as lock:
        on_main_process(accelerator, lambda: lock.enter_context(locked(output)))
        try:
            with plugin_faults(resolved.plugins()):
                return _train_locked(resolved, writer, resume, accelerator)
        except KeyboardInterrupt:  # a signal: `plugin_faults` turns a plugin's own into an error
            raise Interrupted(writer.interrupted()) from None


def _train_locked(resolved: ResolvedRecipe, writer: RunWriter, resume: bool, accelerator: Accelerator) -> Recommender:
    """Train while the main process holds the lock of the run."""
    resumes = has_stopped_run(writer.output, resume)
    read = computed_once(accelerator, lambda: read_data(resolved))
    with accelerator.main_process_first():  # it fills the caches for the others
        run_data = gather_run_data(resolved, read)
    if accelerator.is_main_process:
        if resume and not writer.has_checkpoints():
            what = "has no checkpoint yet" if writer.folder.exists() else "does not exist"
            _log.warning("%s %s, so the run starts from the beginning.", writer.folder, what)
        for line in run_data.data.report.warnings():
            _log.warning("%s.", line)
        for leak in run_data.leaks:
            _log.warning("Leakage audit, %s: %s", leak.kind, leak.message)
    try:
        return _train(run_data, writer, resumes, accelerator)
    except BaseException:
        if accelerator.is_main_process:
            writer.discard()
        raise


def _train(run_data: RunData, writer: RunWriter, resumes: bool, accelerator: Accelerator) -> Recommender:
    started, recipe = time.perf_counter(), run_data.resolved.recipe
    processes = accelerator.process_index, accelerator.num_processes
    loader = training_loader(run_data.examples[Part.TRAIN], recipe, *processes)
    plan = training_plan(recipe, loader.steps_per_epoch)
    model, identity = _begin(run_data, plan, writer, resumes, accelerator)
    weights = count_weights(model)
    frozen = _frozen_vectors(run_data, model, accelerator)
    run_data = with_layer_cache(run_data, model, accelerator)
    examples = run_data.examples[Part.TRAIN]
    table = unchanging_table(model, examples, accelerator)
    fit = build_fit(run_data, model, plan, table, writer.folder, accelerator)
    if resumes:
        with using(writer.folder):
            fit.resume()
    trained = fit.run()
    _take_best(fit, trained.state)
    if table is None:  # the weights are final: the catalog is encoded once for all that follows
        table = table_for(fit.model, examples, accelerator)
    refresh_head(fit.model, table, accelerator)
    predictions = _final_predictions(run_data, fit, trained, table)
    metrics = {"monitor": fit.monitor} | measure(run_data, predictions, table if _is_bare(model) else frozen)
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
    kept = kept_scores(run_data.examples, predictions)
    return finish_run(run_data, plain, table, metrics, kept, identity, plan, writer, accelerator)


def _begin(
    run_data: RunData, plan: TrainingPlan, writer: RunWriter, resumes: bool, accelerator: Accelerator
) -> tuple[RecModel, dict[str, Any]]:
    """The model before its first step, and the content of environment.json. Creates the run's folder, or checks that
    the stopped run in it has the same recipe, data and weights."""
    resolved, folder = run_data.resolved, writer.folder
    settings, identity = full_recipe(resolved), run_identity(run_data, accelerator)
    recorded = check_unchanged(folder, settings, identity) if resumes else {}
    accelerator.wait_for_everyone()  # no process writes before all have checked
    writes = accelerator.is_main_process and not resumes  # the files of a resumed run must survive a full disk
    if writes:
        writer.start(write_yaml(settings), identity)
    copy = folder / layout.BACKBONE if accelerator.is_main_process else None  # again, as the files may have changed
    model = build_model(run_data, plan, copy)
    identity["backbone_fingerprint"] = model.backbone.fingerprint()
    check_same_backbone(folder, recorded, identity)
    start = recorded.get("warm_start")
    if not writer.has_checkpoints():  # otherwise the weights come from the checkpoint
        start = warm_start(model, resolved)
        check_same_start(recorded.get("warm_start"), start)
    identity |= {} if start is None else {"warm_start": start}
    if writes:
        writer.write_json(layout.ENVIRONMENT, identity)
    return model, identity


def _take_best(fit: Fit, state: TrainState) -> None:
    """Load the weights with the best value on validation."""
    if state.best_step is not None and state.best_step != state.step:
        fit.checkpoints.load_weights(state.best_step)


def _is_bare(model: RecModel) -> bool:
    """Whether the network is the backbone itself and does not train."""
    return model.network is model.backbone.module and not model.network_trains


def _frozen_vectors(run_data: RunData, model: RecModel, accelerator: Accelerator) -> Tensor | None:
    """The catalog encoded by the untrained backbone, unless the model is that backbone."""
    if _is_bare(model):
        return None
    collation = run_data.examples[Part.TRAIN].collation
    return frozen_item_vectors(run_data.resolved, run_data.data.catalog, collation, accelerator)


def _final_predictions(run_data: RunData, fit: Fit, trained: Trained, table: Tensor | None) -> dict[Part, Predictions]:
    """Predictions of the final weights for validation (taken from the last evaluation if it used the same weights) and
    for test, which is read only here."""
    current = trained.state.best_step == trained.state.step  # the last evaluation used the final weights
    batch_size = run_data.resolved.recipe.evaluate.batch_size
    evaluations = {
        part: trained.evaluation
        if part == Part.VALIDATION and current and trained.evaluation is not None
        else evaluate(fit.model, run_data.examples[part], run_data.metrics, fit.accelerator, batch_size, table)
        for part in HELD_OUT
    }
    return {part: evaluation.predictions for part, evaluation in evaluations.items() if evaluation is not None}


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10

"""Evaluate a run on the data of its recipe: metrics with intervals, protocol, baselines, and measures of its lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from lorarec.artifact.reader import RunFolder, read_run
from lorarec.contracts import Catalog, Collation, Part, Predictions, Views
from lorarec.data.columns import HISTORY
from lorarec.data.repeated import unreachable_rule
from lorarec.data.report import DataReport
from lorarec.data.streams import Purpose, derived_seed
from lorarec.errors import DataError, IncompatibleError
from lorarec.evaluation.evaluate import predict, table_for
from lorarec.evaluation.intervals import LEVEL, METHOD, metric_intervals
from lorarec.evaluation.metrics import baseline_metrics, compute_metrics, slice_metrics
from lorarec.evaluation.protocol import TIED_TARGETS, UNREACHABLE, protocol
from lorarec.inference.recommender import Recommender, list_rows
from lorarec.model.encoded_catalog import encoded_catalog
from lorarec.pipeline.assemble import RunData
from lorarec.pipeline.load import OpenRun, open_run
from lorarec.prediction.diversity import list_measures
from lorarec.registry.faults import plugin_faults
from lorarec.registry.resolve import ResolvedRecipe

HELD_OUT = (Part.VALIDATION, Part.TEST)


@plugin_faults()
def evaluate(run: str | Path) -> dict[str, Any]:
    """Metrics of validation and test with intervals, protocol and baselines, computed again from the run's weights and
    data; with calibrated probabilities if the run is calibrated.

    Raises ArtifactError if the data or their split have changed since training.
    """
    folder = read_run(Path(run))
    with open_run(folder) as opened:
        return _evaluate(folder, opened)


def _evaluate(folder: RunFolder, opened: OpenRun) -> dict[str, Any]:
    run_data, accelerator = opened.run_data, opened.accelerator
    predictions = held_out_predictions(opened)
    if (calibration := opened.recommender.calibration) is not None:
        calibrated = opened.recommender.predictor.calibrated
        predictions = {part: calibrated(each, calibration) for part, each in predictions.items()}
    collation = run_data.examples[Part.TRAIN].collation
    frozen = frozen_item_vectors(run_data.resolved, run_data.data.catalog, collation, accelerator, folder.backbone)
    metrics = measure(run_data, predictions, frozen)
    if calibration is not None:
        note = f"calibrated on validation by {calibration.method}, so validation metrics are on the fitted rows"
        metrics["protocol"] |= {"probabilities": note}
    return metrics


def held_out_predictions(run: OpenRun) -> dict[Part, Predictions]:
    """Predictions of the run's weights for validation and test, if these have examples."""
    examples, metrics = run.run_data.examples, run.run_data.metrics
    batch_size = run.run_data.resolved.recipe.evaluate.batch_size
    table = table_for(run.model, examples[Part.TRAIN], run.accelerator)
    return {
        part: predict(run.model, examples[part], metrics, run.accelerator, batch_size, table)
        for part in HELD_OUT
        if len(examples[part])
    }


def measure(run_data: RunData, predictions: Mapping[Part, Predictions], frozen: Tensor | None) -> dict[str, Any]:
    """`validation` and `test` (plain numbers), `intervals`, `protocol`, `baselines`, `slices` and `leaks`.

    `predictions` lacks the parts that have no examples; `frozen` holds the item vectors of `frozen_item_vectors`.
    """
    data = run_data.data
    values: dict[str, Any] = {"validation": {}, "test": {}}
    bounds: dict[str, Any] = {"level": LEVEL, "method": METHOD}
    baselines: dict[str, Any] = {}
    slices: dict[str, Any] = {}
    for part, predicted in predictions.items():
        examples, name = run_data.examples[part], part.name.lower()
        values[name] = compute_metrics(predicted, examples, run_data.metrics)
        bounds[name] = metric_intervals(predicted, examples, run_data.metrics, run_data.resolved.recipe.seed)
        slices[name] = slice_metrics(predicted, examples, run_data.metrics, data.statistics)
        for baseline, of_part in baseline_metrics(examples, run_data.metrics, data.statistics, frozen).items():
            baselines.setdefault(baseline, {})[name] = of_part
    leaks = {finding.kind: {"rows": finding.rows, "message": finding.message} for finding in run_data.leaks}
    rules = protocol(
        run_data.resolved.recipe.data, run_data.examples, data.report.fingerprint, data.interactions.has(HISTORY)
    )
    rules |= _ties(run_data, predictions) | _unreachable(data.report)
    return values | {"intervals": bounds, "protocol": rules, "baselines": baselines, "slices": slices, "leaks": leaks}


def _ties(run_data: RunData, predictions: Mapping[Part, Predictions]) -> dict[str, str]:
    """The rule TIED_TARGETS of the protocol, where items are ranked."""
    tied = {part: run_data.examples[part].predictor.tied(predicted) for part, predicted in predictions.items()}
    shares = [f"{part.name.lower()} {rows.mean():.1%}" for part, rows in tied.items() if rows is not None]
    rule = f"{', '.join(shares)} have the score of another item; baselines have their expected value over ties"
    return {TIED_TARGETS: rule} if shares else {}


def _unreachable(report: DataReport) -> dict[str, str]:
    """The rule UNREACHABLE of the protocol, where there are such targets."""
    rule = unreachable_rule(report.repeated, report.parts) if report.seen == "mask" else ""
    return {UNREACHABLE: rule} if rule else {}


@torch.no_grad()
def frozen_item_vectors(
    resolved: ResolvedRecipe,
    catalog: Catalog,
    collation: Collation,
    accelerator: Accelerator,
    copy: Path | None = None,
) -> Tensor | None:
    """[N, D] the catalog encoded by the backbone before any training, for the baseline "nearest text"; None if no
    baseline of the head needs it, or the backbone reads no text. `copy`: the run's copy of the backbone, if it has
    one."""
    if not (resolved.head.predictor.compares_texts and resolved.backbone.reads_text):
        return None
    bare = type(resolved.backbone)(resolved.backbone.config)
    if copy is not None:
        bare.load_from(copy)
    bare.load(catalog, derived_seed(resolved.recipe.seed, Purpose.BACKBONE_WEIGHTS))
    module = bare.module.to(accelerator.device).eval()

    def encode(views: Views) -> Tensor:
        pooled = [bare.encode(module, chunk).pooled.float() for chunk in views.chunks]
        return torch.cat(pooled)[views.order]

    return encoded_catalog(encode, collation, accelerator).cpu()


@plugin_faults()
def compare_lists(run: str | Path, diversify: float, k: int = 10) -> list[tuple[str, float, float]]:
    """Measures of recommended lists: name, value for lists by score only, and for lists diversified with weight
    `diversify`.

    Raises IncompatibleError for heads that are not evaluated by lists, DataError if there is no test part.
    """
    folder = read_run(Path(run))
    with open_run(folder) as opened:
        return _compare_lists(folder, opened, diversify, k)


def _compare_lists(folder: RunFolder, opened: OpenRun, diversify: float, k: int) -> list[tuple[str, float, float]]:
    run_data, recommender = opened.run_data, opened.recommender
    with refused_about(folder.path):
        recommender.predictor.check_lists()
    if not len(run_data.examples[Part.TEST]):
        raise DataError(f"{folder.path} has no test part to make lists for.")
    if recommender.seen == "mask" and _masks_more_than_histories(run_data):
        raise IncompatibleError(
            f"{folder.path}: its metrics exclude items from the ranking that are not in the history (data.split by "
            f"{run_data.resolved.recipe.data.split.by}, data.history), while lists exclude only those of the history, "
            "so the two cannot be compared. `lorarec recommend --diversify` works."
        )
    plain, diverse = (_list_measures(recommender, run_data, weight, k) for weight in (0.0, diversify))
    return [(name, value, diverse[name]) for name, value in plain.items()]


def _masks_more_than_histories(run_data: RunData) -> bool:
    histories = run_data.data.histories
    events = run_data.examples[Part.TEST].events.tolist()
    return any(np.setdiff1d(histories.seen(event), histories.before(event).items).size for event in events)


def _list_measures(recommender: Recommender, run_data: RunData, weight: float, k: int) -> dict[str, float]:
    examples, ids = run_data.examples[Part.TEST], run_data.data.catalog.ids
    histories = [run_data.data.histories.before(int(event)) for event in examples.events]
    answers = recommender.recommend(
        [[ids[item] for item in history.items] for history in histories],
        k,
        [history.feedback.tolist() for history in histories],
        diversify=weight,
    )
    lists = list_rows(answers, recommender.catalog, k)
    hit = lists == examples.items[:, None]
    gains = hit / np.log2(np.arange(k) + 2.0)
    accuracy = {
        f"hit rate of the first {k}": float(hit.any(axis=1).mean()),
        f"NDCG of the first {k}": float(gains.sum(axis=1).mean()),
    }
    return accuracy | list_measures(lists, recommender.vectors().cpu(), recommender.statistics.item_counts)


@contextmanager
def refused_about(path: Path) -> Iterator[None]:
    """Add the run's path to the IncompatibleErrors of a predictor, which does not know it."""
    try:
        yield
    except IncompatibleError as error:
        raise IncompatibleError(f"{path}: {error}") from error

"""Lists of a finished run on its test part: accuracy beside coverage, diversity and novelty, plain and diversified."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lorarec.artifact.reader import read_run
from lorarec.contracts import Part
from lorarec.errors import DataError, IncompatibleError
from lorarec.inference.recommender import Recommender, list_rows
from lorarec.pipeline.assemble import Materials
from lorarec.pipeline.evaluate import open_run, refused_about
from lorarec.prediction.diversity import list_measures


def compare_lists(run: str | Path, diversify: float, k: int = 10) -> list[tuple[str, float, float]]:
    """Measure, its value for lists by score alone, and for those that `diversify` weighs.

    Raises IncompatibleError for heads that are not judged by lists, DataError where there is no test part.
    """
    folder = read_run(Path(run))
    opened = open_run(folder)
    materials, recommender = opened.materials, opened.recommender
    with refused_about(folder.path):
        recommender.predictor.check_lists()
    if not len(materials.examples[Part.TEST]):
        raise DataError(f"{folder.path} has no test part to make lists for.")
    if _masks_more_than_histories(materials):
        raise IncompatibleError(
            f"{folder.path}: its metrics leave items out of the ranking that are not in the history (data.split by "
            f"{materials.resolved.recipe.data.split.by}, data.history), while lists leave out the history's alone: the "
            "two cannot be set beside each other. `lorarec recommend --diversify` works."
        )
    plain, mixed = (_measures(recommender, materials, weight, k) for weight in (0.0, diversify))
    return [(name, value, mixed[name]) for name, value in plain.items()]


def _masks_more_than_histories(materials: Materials) -> bool:
    histories = materials.data.histories
    events = materials.examples[Part.TEST].events.tolist()
    return any(np.setdiff1d(histories.seen(event), histories.before(event).items).size for event in events)


def _measures(recommender: Recommender, materials: Materials, weight: float, k: int) -> dict[str, float]:
    examples, ids = materials.examples[Part.TEST], materials.data.catalog.ids
    histories = [materials.data.histories.before(int(event)) for event in examples.events]
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

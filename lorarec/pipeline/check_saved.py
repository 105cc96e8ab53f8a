"""Check that a written run, read again, predicts what the model in memory predicts."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Examples, Part
from lorarec.errors import IncompatibleError, PluginError, text_of
from lorarec.inference.recommender import Recommender
from lorarec.model.rec_model import AskedModel, encoder_of
from lorarec.pipeline.assemble import RunData
from lorarec.pipeline.load import load

ROWS, EVENTS = 8, 10
"""Number of examples that are predicted, and of the latest events of each history that are read."""
SAME = 1e-4
"""Largest difference, relative to the largest number."""


class _Sample(NamedTuple):
    """Requests about a few examples, in catalog rows."""

    items: list[int]
    histories: list[list[int]]
    feedback: list[list[float]]

    @property
    def rows(self) -> np.ndarray:
        """[m] all their items."""
        return np.unique([*self.items, *(item for history in self.histories for item in history)]).astype(np.int64)


@torch.no_grad()
def check_saved(trained: Recommender, table: Tensor | None, run_data: RunData, folder: Path) -> None:
    """Read the run in `folder` as any user would, and compare vectors and predictions of a few examples.

    `table` [N, D]: the item table of `trained`, if there is one; only the items of the examples are encoded. Raises
    PluginError naming the adapter or the head that does not restore what was trained.
    """
    adapter, head = f"adapter '{trained.model.adapter.name}'", f"head '{trained.head.name}'"
    device = next(trained.model.parameters()).device
    try:
        with torch.random.fork_rng(devices=[]):
            loaded = load(folder, device)
    except Exception as error:
        reason = text_of(error)[:500].rstrip(".")
        raise _refusal(f"{adapter} or {head}", f"the saved run cannot be read: {reason}") from error
    sample, runs = _sample(run_data), (trained, loaded)
    rows = torch.from_numpy(sample.rows).to(device)
    vectors = [_vectors(run, run_data, sample.rows) for run in runs]
    _compare(adapter, "vectors", *map(_numbers, vectors))
    tables = [_with_rows(table, rows, each, trained, run_data) for each in vectors]
    if trained.predictor.has_item_vectors:
        items = [_item_vectors(*each)[rows] for each in zip(runs, tables, strict=True)]
        _compare(head, "item vectors", *map(_numbers, items))
    try:
        answers = [_predictions(*each, sample) for each in zip(runs, tables, strict=True)]
    except IncompatibleError:  # the head does not predict single items
        return
    _compare(head, "predictions", *answers)


def _sample(run_data: RunData) -> _Sample:
    """A few held-out examples, evenly spread; of training if there are none."""
    parts = (Part.TEST, Part.VALIDATION, Part.TRAIN)
    examples: Examples = next(run_data.examples[part] for part in parts if len(run_data.examples[part]))
    rows = np.unique(np.linspace(0, len(examples) - 1, ROWS).astype(np.int64))
    histories = [run_data.data.histories.before(int(event), EVENTS) for event in examples.events[rows]]
    return _Sample(
        [int(item) for item in examples.items[rows]],
        [[int(item) for item in history.items] for history in histories],
        [[float(number) for number in history.feedback] for history in histories],
    )


def _vectors(run: Recommender, run_data: RunData, rows: np.ndarray) -> Tensor:
    """[m, D] items as the run encodes them."""
    collation = replace(run_data.examples[Part.TRAIN].collation, featurizer=run.featurizer, items_encoded=False)
    device = next(run.model.parameters()).device
    return encoder_of(run.model)(collation.item_views(rows).to(device))


def _with_rows(
    table: Tensor | None, rows: Tensor, vectors: Tensor, trained: Recommender, run_data: RunData
) -> Tensor | None:
    """[N, D] an item table with these vectors in the rows of the sample; None if predictions read no table."""
    if not (trained.predictor.has_item_vectors or run_data.examples[Part.TRAIN].reads_items()):
        return None
    base = vectors.new_zeros(len(trained.catalog), vectors.shape[1]) if table is None else table
    return base.index_copy(0, rows, vectors.to(base.dtype))


def _item_vectors(run: Recommender, table: Tensor | None) -> Tensor:
    assert table is not None
    vectors = run.predictor.item_vectors(AskedModel(run.model), table)
    assert vectors is not None, "a predictor that has item vectors computes them"
    return vectors


def _predictions(run: Recommender, table: Tensor | None, sample: _Sample) -> np.ndarray:
    """[n] by the public call, with the given item table: numbers, or what the head's predictor gives."""
    ids = run.catalog.ids
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the requests, which nobody made
        return replace(run, _table=table).predict(
            [ids[item] for item in sample.items],
            [[ids[item] for item in history] for history in sample.histories],
            sample.feedback,
        )


def _numbers(vectors: Tensor) -> np.ndarray:
    return vectors.double().cpu().numpy()


def _compare(part: str, what: str, trained: np.ndarray, loaded: np.ndarray) -> None:
    if not np.issubdtype(trained.dtype, np.number):  # such as texts
        if not np.array_equal(trained, loaded):
            raise _refusal(part, f"{what} of the saved run are others")
        return
    difference = np.where(np.isnan(trained) & np.isnan(loaded), 0.0, np.abs(trained - loaded)).max()
    if not difference <= SAME * np.abs(np.nan_to_num(trained)).max():
        raise _refusal(part, f"{what} of the saved run differ by up to {difference:.2g}")


def _refusal(part: str, what: str) -> PluginError:
    return PluginError(
        f"{part[0].upper()}{part[1:]} does not restore what was trained: {what}. The run is not finished: with a "
        "corrected plugin, the same command with --resume finishes it. lorarec.testing tests adapters and heads "
        "(check_adapter, check_task_head)."
    )

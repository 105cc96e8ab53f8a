"""LayerCache: hidden states of every item below the lowest block that trains, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Collation, Featurizer, View, Views
from lorarec.errors import LorarecError
from lorarec.model.item_table import BLOCK, is_sharded
from lorarec.model.rec_model import LOWER_STATES, RecModel

_log = logging.getLogger(__name__)
AS_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype("<f4"),
    torch.float16: np.dtype("<f2"),
    torch.bfloat16: np.dtype("<i2"),
}
"""numpy has no bfloat16: its bits are kept."""


@dataclass(frozen=True)
class LayerCache:
    """A featurizer that adds kept hidden states to the features of single items (Legommenders' `tune_from`; IISAN,
    Fu et al., SIGIR 2024). Exact: the blocks below neither train nor drop out."""

    featurizer: Featurizer
    states: Tensor
    """[T, D] of all items, one position after another; memory-mapped."""
    starts: np.ndarray
    """[N + 1] int64 where each item's positions begin."""

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Features of B views, with LOWER_STATES [B, L, D] if every one of them is an item alone."""
        features = self.featurizer(views)
        items = [view.candidate for view in views if view.is_item]
        if len(items) == len(views):
            features[LOWER_STATES] = self._padded(np.array(items, np.int64))
        return features

    def length(self, view: View) -> int:
        """As the featurizer says."""
        return self.featurizer.length(view)

    def _padded(self, items: np.ndarray) -> Tensor:
        lengths = self.starts[items + 1] - self.starts[items]
        place_BL = np.arange(lengths.max())[None, :]
        mask_BL = torch.from_numpy(place_BL < lengths[:, None])
        rows = torch.from_numpy((self.starts[items][:, None] + place_BL)[mask_BL.numpy()])
        padded = torch.zeros(*mask_BL.shape, self.states.shape[1], dtype=self.states.dtype)
        padded[mask_BL] = self.states[rows]
        return padded


def cache_layers(model: RecModel, collation: Collation, accelerator: Any) -> LayerCache | None:
    """The cache for a model as it begins to train, read from disk or made; None where no block stays frozen.

    Also tells the model from which block the kept states let it start. Raises LorarecError if the disk is full.
    """
    blocks = model.backbone.frozen_blocks(model.network)
    if not blocks:
        return None
    if is_sharded(accelerator):
        _log.warning("train.cache_frozen_layers does nothing here: the weights are shared out among processes.")
        return None
    model.to(accelerator.device)
    with accelerator.local_main_process_first():  # the others find it made
        states, starts = _kept(model, collation, accelerator, blocks)
    model.lower_blocks = blocks
    return LayerCache(collation.featurizer, states, starts)


def _kept(model: RecModel, collation: Collation, accelerator: Any, blocks: int) -> tuple[Tensor, np.ndarray]:
    size = collation.catalog_size
    lengths = np.fromiter((collation.featurizer.length(View(candidate=item)) for item in range(size)), np.int64, size)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    shape = (int(starts[-1]), model.backbone.architecture().hidden_size)
    with torch.no_grad(), accelerator.autocast():
        dtype = _lower(model, collation.item_views(np.zeros(1, np.int64)), blocks, accelerator)[0].dtype
        folder = Path(datasets.config.HF_DATASETS_CACHE) / "lorarec_layers"
        file = folder / f"{_key(model, collation, blocks, dtype)}.npy"
        if not file.exists():
            _make(file, shape, dtype, _filled(model, collation, accelerator, blocks, starts))
    # Copy-on-write, since torch takes no read-only arrays; nobody writes.
    states = torch.from_numpy(np.load(file, mmap_mode="c"))
    _log.info("The lowest %d blocks are frozen: hidden states of %d items are read from %s.", blocks, size, file)
    return (states.view(torch.bfloat16) if dtype == torch.bfloat16 else states), starts


def _key(model: RecModel, collation: Collation, blocks: int, dtype: torch.dtype) -> str:
    """Weights, text and layer: a hash of all that the states follow from."""
    digest = hashlib.sha256(f"{model.backbone.fingerprint()} {blocks} {dtype} {torch.__version__}".encode())
    weight = next(model.network.parameters())
    digest.update(f"{weight.dtype} {weight.device.type} {model.backbone.architecture().attention}".encode())
    for start in _starts(collation):
        for chunk in _item_views(collation, start).chunks:
            for name, tensor in sorted(chunk.items()):
                digest.update(f"{name} {tuple(tensor.shape)}".encode())
                digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _filled(
    model: RecModel, collation: Collation, accelerator: Any, blocks: int, starts: np.ndarray
) -> Iterator[tuple[slice, Tensor]]:
    """Positions in the file, and the states that belong there, chunk by chunk."""
    for first in _starts(collation):
        views = _item_views(collation, first)
        items = first + np.argsort(views.order.numpy())
        for states in _lower(model, views, blocks, accelerator):
            mine, items = items[: len(states)], items[len(states) :]
            for item, state in zip(mine, states.cpu(), strict=True):
                place = slice(int(starts[item]), int(starts[item + 1]))
                yield place, state[: place.stop - place.start]


def _lower(model: RecModel, views: Views, blocks: int, accelerator: Any) -> list[Tensor]:
    training = model.network.training
    model.network.eval()
    chunks = views.to(accelerator.device).chunks
    found = [model.backbone.lower_states(model.network, chunk, blocks) for chunk in chunks]
    model.network.train(training)
    return found


def _starts(collation: Collation) -> range:
    return range(0, collation.catalog_size, BLOCK)


def _item_views(collation: Collation, start: int) -> Views:
    rows = np.arange(start, min(start + BLOCK, collation.catalog_size))
    return replace(collation, table=False).item_views(rows)


def _make(file: Path, shape: tuple[int, int], dtype: torch.dtype, filled: Iterator[tuple[slice, Tensor]]) -> None:
    """Write aside and rename, so that several runs may do this at once."""
    needed = shape[0] * shape[1] * AS_NUMPY[dtype].itemsize
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < needed:
            raise OSError(0, "not enough room on the disk")
        handle, aside = tempfile.mkstemp(suffix=".aside", dir=file.parent)
        os.close(handle)
        try:
            states = np.lib.format.open_memmap(aside, "w+", AS_NUMPY[dtype], shape)
            for place, values in filled:
                states[place] = (values.view(torch.int16) if dtype == torch.bfloat16 else values).numpy()
            states.flush()
            os.replace(aside, file)
        finally:
            Path(aside).unlink(missing_ok=True)
    except OSError as error:
        raise LorarecError(
            f"cannot keep {needed / 2**20:.0f} MiB of hidden states in {file.parent}: {error.strerror}. Make room, set "
            "HF_DATASETS_CACHE to another folder, or set train.cache_frozen_layers=false."
        ) from error

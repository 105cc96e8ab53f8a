"""Layer cache: hidden states of every item below the lowest block that trains, computed once and kept on disk
(Legommenders' `tune_from`; IISAN, Fu et al., SIGIR 2024). Exact: the blocks below neither train nor drop out."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Collation, View, Views
from lorarec.contracts.batch import ItemStates
from lorarec.errors import LorarecError
from lorarec.model.encoded_catalog import BLOCK, is_sharded
from lorarec.model.rec_model import RecModel

_log = logging.getLogger(__name__)
AS_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype("<f4"),
    torch.float16: np.dtype("<f2"),
    torch.bfloat16: np.dtype("<i2"),
}
"""numpy has no bfloat16: its bits are stored as int16."""


def cache_layers(model: RecModel, collation: Collation, accelerator: Any) -> ItemStates | None:
    """The states of a model before training, read from disk or computed; None where no block stays frozen.

    Raises LorarecError if the disk is full.
    """
    blocks = model.backbone.frozen_blocks(model.network)
    if not blocks:
        return None
    if is_sharded(accelerator):
        _log.warning("train.cache_frozen_layers does nothing here: the weights are sharded over processes.")
        return None
    model.to(accelerator.device)
    with accelerator.local_main_process_first():  # the others read what the first has written
        return _cached(model, collation, accelerator, blocks)


def _cached(model: RecModel, collation: Collation, accelerator: Any, blocks: int) -> ItemStates:
    size = collation.catalog_size
    lengths = np.fromiter((collation.featurizer.length(View(candidate=item)) for item in range(size)), np.int64, size)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    shape = (int(starts[-1]), model.backbone.architecture().hidden_size)
    with torch.no_grad(), accelerator.autocast():
        dtype = _lower(model, collation.item_views(np.zeros(1, np.int64)), blocks, accelerator)[0].dtype
        folder = Path(datasets.config.HF_DATASETS_CACHE) / "lorarec_layers"
        file = folder / f"{_key(model, collation, blocks, dtype)}.npy"
        if not file.exists():
            _write(file, shape, dtype, _computed(model, collation, accelerator, blocks, starts))
    # Copy-on-write, since torch takes no read-only arrays; the states are never written to.
    states = torch.from_numpy(np.load(file, mmap_mode="c"))
    _log.info("The lowest %d blocks are frozen: hidden states of %d items are read from %s.", blocks, size, file)
    return ItemStates(blocks, states.view(torch.bfloat16) if dtype == torch.bfloat16 else states, starts)


def _key(model: RecModel, collation: Collation, blocks: int, dtype: torch.dtype) -> str:
    """A hash of all that the states depend on: weights, texts and layer."""
    digest = hashlib.sha256(f"{model.backbone.fingerprint()} {blocks} {dtype} {torch.__version__}".encode())
    weight = next(model.network.parameters())
    digest.update(f"{weight.dtype} {weight.device.type} {model.backbone.architecture().attention}".encode())
    for start in _starts(collation):
        for chunk in _item_views(collation, start).chunks:
            for name, tensor in sorted(chunk.items()):
                digest.update(f"{name} {tuple(tensor.shape)}".encode())
                digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _computed(
    model: RecModel, collation: Collation, accelerator: Any, blocks: int, starts: np.ndarray
) -> Iterator[tuple[slice, Tensor]]:
    """Positions in the file, and their states, item by item."""
    for first in _starts(collation):
        views = _item_views(collation, first)
        items = first + np.argsort(views.order.numpy())
        for states in _lower(model, views, blocks, accelerator):
            mine, items = items[: len(states)], items[len(states) :]
            for item, state in zip(mine, states.cpu(), strict=True):
                positions = slice(int(starts[item]), int(starts[item + 1]))
                yield positions, state[: positions.stop - positions.start]


def _lower(model: RecModel, views: Views, blocks: int, accelerator: Any) -> list[Tensor]:
    training = model.network.training
    model.network.eval()
    chunks = views.to(accelerator.device).chunks
    states = [model.backbone.lower_states(model.network, chunk, blocks) for chunk in chunks]
    model.network.train(training)
    return states


def _starts(collation: Collation) -> range:
    return range(0, collation.catalog_size, BLOCK)


def _item_views(collation: Collation, start: int) -> Views:
    rows = np.arange(start, min(start + BLOCK, collation.catalog_size))
    return replace(collation, items_encoded=False).item_views(rows)


def _write(file: Path, shape: tuple[int, int], dtype: torch.dtype, computed: Iterator[tuple[slice, Tensor]]) -> None:
    """Write under a temporary name and rename, so that several runs may do this at once."""
    needed = shape[0] * shape[1] * AS_NUMPY[dtype].itemsize
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < needed:
            raise OSError(0, "not enough space on the disk")
        handle, partial = tempfile.mkstemp(suffix=".partial", dir=file.parent)
        os.close(handle)
        try:
            states = np.lib.format.open_memmap(partial, "w+", AS_NUMPY[dtype], shape)
            for positions, values in computed:
                states[positions] = (values.view(torch.int16) if dtype == torch.bfloat16 else values).numpy()
            states.flush()
            os.replace(partial, file)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        raise LorarecError(
            f"cannot keep {needed / 2**20:.0f} MiB of hidden states in {file.parent}: {error.strerror}. Make room, set "
            "HF_DATASETS_CACHE to another folder, or set train.cache_frozen_layers=false."
        ) from error

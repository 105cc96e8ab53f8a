"""Layer cache: hidden states of every item below the lowest block that trains, computed once and kept on disk
(Legommenders' `tune_from`; IISAN, Fu et al., SIGIR 2024). Exact: the blocks below neither train nor drop out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from torch import Tensor

from lorarec.contracts import Collation, View, Views
from lorarec.contracts.batch import ItemStates
from lorarec.data.cache import cached
from lorarec.errors import LorarecError
from lorarec.model.encoded_catalog import BLOCK
from lorarec.model.rec_model import RecModel

_log = logging.getLogger(__name__)


def cache_layers(model: RecModel, collation: Collation, accelerator: Any) -> ItemStates | None:
    """The states of a model before training, read from disk or computed; None where no block stays frozen."""
    blocks = model.backbone.frozen_blocks(model.network)
    if not blocks:
        return None
    model.to(accelerator.device)
    with accelerator.local_main_process_first():  # the others read what the first has written
        try:
            return _cached(model, collation, accelerator, blocks)
        except LorarecError as error:
            _log.warning("Training without train.cache_frozen_layers, which is slower: %s", error)
            return None


def _cached(model: RecModel, collation: Collation, accelerator: Any, blocks: int) -> ItemStates:
    size = collation.catalog_size
    lengths = np.fromiter((collation.featurizer.length(View(candidate=item)) for item in range(size)), np.int64, size)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    with torch.no_grad(), accelerator.autocast():
        first = _lower(model, collation.item_views(np.zeros(1, np.int64)), blocks, accelerator)[0]
        dtype, width = first.dtype, first.shape[-1]

        def write(sink: pa.NativeFile) -> None:
            for states in _computed(model, collation, accelerator, blocks, starts):
                sink.write(states.view(torch.uint8).numpy())

        needed = int(starts[-1]) * width * dtype.itemsize
        entry = cached("layers", _key(model, collation, blocks, dtype), write, needed)
    where = "memory" if entry.file is None else entry.file
    _log.info("The lowest %d blocks are frozen: hidden states of %d items are read from %s.", blocks, size, where)
    stored = np.frombuffer(entry.content, np.uint8)
    states = torch.from_numpy(stored).view(dtype).view(-1, width)
    return ItemStates(blocks, states, starts)


def _key(model: RecModel, collation: Collation, blocks: int, dtype: torch.dtype) -> str:
    """A hash of all that the states depend on: weights, texts and layer."""
    digest = hashlib.sha256(f"{model.backbone.fingerprint()} {blocks} {dtype} {torch.__version__}".encode())
    digest.update(transformers.__version__.encode())
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
) -> Iterator[Tensor]:
    """[positions, D] the states of all items, block by block."""
    for first in _starts(collation):
        views = _item_views(collation, first)
        items = first + np.argsort(views.order.numpy())
        states_of: dict[int, Tensor] = {}
        for states in _lower(model, views, blocks, accelerator):
            mine, items = items[: len(states)], items[len(states) :]
            for item, state in zip(mine.tolist(), states.cpu(), strict=True):
                states_of[item] = state[: starts[item + 1] - starts[item]]
        yield torch.cat([states_of[item] for item in sorted(states_of)])


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

"""The encoded catalog: the vectors of all items, encoded once and shared among processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Collation, Views

BLOCK = 1024
"""Number of items in a block, the unit that is distributed over processes; a multiple of a batch's chunk size."""


Encode = Callable[[Views], Tensor]
"""[V, D] vectors of views, from the current weights of a model."""


def encoded_catalog(encode: Encode, collation: Collation, accelerator: Any) -> Tensor:
    """[N, D] float32 vectors of all items from `encode`, the same on every process.

    Blocks are distributed over the processes. They do not depend on the number of processes, so that the vectors are
    the same to the bit on one process and on two.
    """
    if accelerator.num_processes == 1:
        return encoded_on_one_process(encode, collation, accelerator.device)
    shares: list[tuple[np.ndarray, Tensor]] = []
    for number, rows in enumerate(_blocks(collation.catalog_size)):
        # Sharded models need every process in every forward.
        mine = number % accelerator.num_processes == accelerator.process_index
        if not mine and not is_sharded(accelerator):
            continue
        vectors = _encoded(encode, collation, rows, accelerator.device)
        if mine:
            shares.append((rows, vectors))
    return _joined(shares, collation.catalog_size, accelerator)


def encoded_on_one_process(encode: Encode, collation: Collation, device: torch.device) -> Tensor:
    """The same vectors, encoded by this process alone."""
    blocks = iter(_blocks(collation.catalog_size))
    first = _encoded(encode, collation, next(blocks), device)
    table = first.new_empty(collation.catalog_size, first.shape[1])
    table[: len(first)] = first
    for rows in blocks:
        table[int(rows[0]) : int(rows[-1]) + 1] = _encoded(encode, collation, rows, device)
    return table


def is_sharded(accelerator: Any) -> bool:
    """Whether FSDP shards the weights over the processes: every process must then run every forward.

    Accelerate's `is_fsdp2` is never true on CPUs, where it ignores what the launcher asks for.
    """
    return accelerator.num_processes > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def _blocks(size: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def _encoded(encode: Encode, collation: Collation, rows: np.ndarray, device: torch.device) -> Tensor:
    return encode(collation.item_views(rows).to(device))


def _joined(shares: list[tuple[np.ndarray, Tensor]], size: int, accelerator: Any) -> Tensor:
    width = torch.tensor([shares[0][1].shape[1] if shares else 0], device=accelerator.device)
    width = accelerator.gather(width).max()
    table = torch.zeros(size, int(width), device=accelerator.device)
    for rows, vectors in shares:
        table[torch.from_numpy(rows).to(table.device)] = vectors
    return cast(Tensor, accelerator.reduce(table, reduction="sum"))

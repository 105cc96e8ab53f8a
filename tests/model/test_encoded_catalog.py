"""The item table: every item is encoded once, into its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Views
from lorarec.model.encoded_catalog import BLOCK, encoded_catalog, encoded_on_one_process


class Rows:
    """A collation whose views are the rows themselves."""

    def __init__(self, catalog_size: int) -> None:
        self.catalog_size = catalog_size

    def item_views(self, items: np.ndarray) -> Views:
        rows = torch.from_numpy(items)
        return Views([{"rows": rows}], torch.arange(len(rows)), rows)


class Doubles:
    """Encodes row n as (n, 2n), and counts."""

    encoded = 0

    def __call__(self, views: Views) -> Tensor:
        rows = views.chunks[0]["rows"].float()
        self.encoded += len(rows)
        return torch.stack([rows, 2 * rows], dim=1)


class Process:
    """One of several processes, as in accelerate; the shares of the others arrive by `reduce`."""

    device = torch.device("cpu")
    distributed_type = "DistributedType.MULTI_CPU"

    def __init__(self, process_index: int, num_processes: int) -> None:
        self.process_index, self.num_processes = process_index, num_processes
        self.share = torch.empty(0)

    def gather(self, width: Tensor) -> Tensor:
        return width

    def reduce(self, table: Tensor, reduction: str) -> Tensor:
        self.share = table
        return table


def expected(size: int) -> Tensor:
    rows = torch.arange(size).float()
    return torch.stack([rows, 2 * rows], dim=1)


def test_each_item_is_encoded_once_into_its_row() -> None:
    for size in (1, BLOCK, 2 * BLOCK + 3):
        model, rows = Doubles(), Rows(size)
        collation: Any = rows
        assert torch.equal(encoded_on_one_process(model, collation, torch.device("cpu")), expected(size))
        assert model.encoded == size


def test_processes_share_the_work_and_their_shares_are_the_table() -> None:
    size = 2 * BLOCK + 3
    collation: Any = Rows(size)
    shares, encoded = [], []
    for index in range(2):
        model, process = Doubles(), Process(index, 2)
        encoded_catalog(model, collation, process)
        shares.append(process.share)
        encoded.append(model.encoded)
    assert encoded == [BLOCK + 3, BLOCK]
    assert torch.equal(shares[0] + shares[1], expected(size))

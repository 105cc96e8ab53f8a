"""Sharding: the batches of all processes have equal numbers of passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from lorarec.contracts import Batch, Views
from lorarec.contracts.batch import LowerStates
from lorarec.engine.sharding import with_equal_passes


def views(sizes: list[int], lower: bool = False) -> Views:
    """Views in chunks of these sizes."""
    chunks = [{"ids": torch.arange(size * 3).reshape(size, 3)} for size in sizes]
    states = LowerStates(1, [torch.rand(size, 3, 2) for size in sizes]) if lower else None
    return Views(chunks, torch.arange(sum(sizes)), lower=states)


def test_a_batch_gets_as_many_chunks_as_that_of_the_process_with_most() -> None:
    others = torch.tensor([[4, 1, 1, 1]])
    accelerator: Any = SimpleNamespace(device=torch.device("cpu"), gather=lambda mine: torch.cat([mine, others]))
    batches = [
        Batch(torch.arange(5), 5, {"items": views([2, 3], lower=True), "pairs": views([4])}),
        Batch(torch.arange(5), 5, {"items": views([5]), "pairs": views([1, 1])}),
    ]
    padded = with_equal_passes(batches, accelerator)
    counts = [{kind: len(each.chunks) for kind, each in batch.views.items()} for batch in padded]
    assert counts == [{"items": 4, "pairs": 1}, {"items": 1, "pairs": 2}]
    before, after = batches[0].views["items"], padded[0].views["items"]
    assert after.chunks[:2] == before.chunks
    assert torch.equal(after.order, before.order), "the added chunks' vectors are read by nothing"
    assert all(len(chunk["ids"]) == 1 for chunk in after.chunks[2:])
    assert after.lower is not None
    assert [len(states) for states in after.lower.chunks if states is not None] == [2, 3, 1, 1]

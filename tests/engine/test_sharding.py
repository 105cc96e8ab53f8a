"""Sharding: what a launcher asks for is used or refused, and batches of all processes have equal numbers of passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType

from lorarec.contracts import Batch, Views
from lorarec.contracts.batch import LowerStates
from lorarec.engine.sharding import check_sharding, with_equal_passes
from lorarec.errors import RecipeError

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def accelerator(processes: int = 2, precision: str = "no", others: list[list[int]] | None = None) -> Any:
    """An accelerator on CPUs; `others` [P - 1, M] are the numbers that other processes gather."""

    def gather(mine: torch.Tensor) -> torch.Tensor:
        return torch.cat([mine, torch.tensor(others)])

    return SimpleNamespace(
        num_processes=processes,
        mixed_precision=precision,
        device=torch.device("cpu"),
        distributed_type=DistributedType.MULTI_CPU,
        gather=gather,
    )


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, {}, "DeepSpeed, which Accelerate uses on GPUs only"),
        (FSDP2, {"processes": 1}, "FSDP, but one process is running"),
        (FSDP2, {"precision": "fp16"}, "train.precision=fp16 does not work with sharded weights"),
        ({"ACCELERATE_USE_FSDP": "true"}, {}, "fsdp_version 1"),
        (FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, {}, "fsdp_activation_checkpointing"),
        (FSDP2 | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, {}, "fsdp_cpu_ram_efficient_loading"),
    ],
)
def test_what_would_be_ignored_is_refused(
    environment: dict[str, str], options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=message):
        check_sharding(accelerator(**options))


@pytest.mark.parametrize("environment", [{}, FSDP2])
def test_fsdp2_and_no_sharding_are_accepted(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_sharding(accelerator())


def views(sizes: list[int], lower: bool = False) -> Views:
    """Views in chunks of these sizes."""
    chunks = [{"ids": torch.arange(size * 3).reshape(size, 3)} for size in sizes]
    states = LowerStates(1, [torch.rand(size, 3, 2) for size in sizes]) if lower else None
    return Views(chunks, torch.arange(sum(sizes)), lower=states)


def test_a_batch_gets_as_many_chunks_as_that_of_the_process_with_most() -> None:
    batches = [
        Batch(torch.arange(5), 5, {"items": views([2, 3], lower=True), "pairs": views([4])}),
        Batch(torch.arange(5), 5, {"items": views([5]), "pairs": views([1, 1])}),
    ]
    padded = with_equal_passes(batches, accelerator(others=[[4, 1, 1, 1]]))
    counts = [{kind: len(each.chunks) for kind, each in batch.views.items()} for batch in padded]
    assert counts == [{"items": 4, "pairs": 1}, {"items": 1, "pairs": 2}]
    before, after = batches[0].views["items"], padded[0].views["items"]
    assert after.chunks[:2] == before.chunks
    assert torch.equal(after.order, before.order), "the added chunks' vectors are read by nothing"
    assert all(len(chunk["ids"]) == 1 for chunk in after.chunks[2:])
    assert after.lower is not None
    assert [len(states) for states in after.lower.chunks if states is not None] == [2, 3, 1, 1]

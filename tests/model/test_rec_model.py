"""A model's methods are run through whatever wraps it, and a head may have methods that the core never heard of."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lorarec.contracts import Batch, Encoded, Head, Views
from lorarec.errors import PluginError
from lorarec.model.rec_model import STRETCH, RecModel, call, encoder_of

FEATURES = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
VIEWS = Views([{"x": FEATURES[:1]}, {"x": FEATURES[1:]}], torch.tensor([2, 0, 1]))
BATCH = Batch(torch.arange(3), 3, {"texts": VIEWS})


class Third(Head):
    """A head of no family that lorarec knows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def losses(self, encode: Any, batch: Batch) -> Tensor:
        return (encode.vectors("texts") * self.scale).sum(dim=1)

    def token_probabilities(self, encode: Any, batch: Batch) -> Tensor:
        return (encode.vectors("texts") * self.scale).softmax(dim=1)

    def prices(self, pooled: Tensor, items: Tensor) -> Tensor:
        return pooled.sum(dim=1) + items


class Wrapper(nn.Module):
    """Acts on `forward` alone, as DDP and FSDP do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.seen: list[str] = []

    def forward(self, *inputs: Any, **options: Any) -> Any:
        self.seen.append(inputs[0])
        return self.module(*inputs, **options)


@pytest.fixture
def model() -> RecModel:
    network = nn.Linear(2, 2, bias=False)
    nn.init.eye_(network.weight)

    def encode(module: nn.Module, chunk: dict[str, Tensor]) -> Encoded:
        pooled = module(chunk["x"])
        return Encoded(pooled)

    backbone: Any = SimpleNamespace(module=network, encode=encode)
    adapter: Any = SimpleNamespace(
        penalty=lambda module: module.weight.sum(), active=lambda module, name: nullcontext()
    )
    return RecModel(backbone, adapter, network, Third())


def test_every_method_goes_through_what_wraps_the_model(model: RecModel) -> None:
    wrapped = Wrapper(model)
    in_order = FEATURES[[2, 0, 1]]
    step = call(wrapped, RecModel.losses, BATCH)
    assert (step.losses.tolist(), step.regularizer.item(), step.penalty.item()) == ([22.0, 6.0, 14.0], 0.0, 2.0)
    torch.testing.assert_close(encoder_of(wrapped)(VIEWS), in_order)
    answer = call(wrapped, RecModel.answer, BATCH, "token_probabilities")
    torch.testing.assert_close(answer, (2 * in_order).softmax(dim=1))
    call(wrapped, RecModel.refresh, FEATURES)
    assert wrapped.seen == ["losses", "vectors", "answer", "refresh"]


def test_a_table_stands_in_for_views_of_items(model: RecModel) -> None:
    views = Views([], torch.empty(0, dtype=torch.int64), torch.tensor([1, 1, 0]))
    batch = Batch(torch.arange(3), 3, {"texts": views})
    answer = call(model, RecModel.answer, batch, "token_probabilities", FEATURES)
    torch.testing.assert_close(answer, (2 * FEATURES[[1, 1, 0]]).softmax(dim=1))


def test_a_head_is_asked_about_the_catalog_in_stretches_with_the_rows(model: RecModel) -> None:
    table = torch.ones(STRETCH + 2, 1)
    prices = call(model, RecModel.answer_items, table, "prices")
    assert torch.equal(prices, torch.arange(STRETCH + 2) + 1.0)


def test_the_penalty_is_for_training_alone(model: RecModel) -> None:
    assert call(model.eval(), RecModel.losses, BATCH).penalty.item() == 0.0


def test_losses_that_are_reduced_are_refused(model: RecModel) -> None:
    with pytest.raises(PluginError, match=r"Third.losses gives a tensor of shape \(3,\) for a batch of 4 targets"):
        call(model, RecModel.losses, replace(BATCH, count=4))


def test_distributed_data_parallel_averages_gradients_of_what_is_called(model: RecModel, tmp_path: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        averaged: list[int] = []
        wrapped.register_comm_hook(None, lambda _, bucket: averaged.append(1) or _done(bucket.buffer()))
        call(wrapped, RecModel.losses, BATCH).losses.sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert averaged, "a method called past DDP's forward would leave each process with gradients of its own"


def _done(tensor: Tensor) -> Any:
    future: Any = torch.futures.Future()
    future.set_result(tensor)
    return future

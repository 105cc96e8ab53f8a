"""A model's methods are run through its wrapper, and a head may have methods that the core does not know."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lorarec.contracts import Batch, Encoded, Head, IncompatibleError, TrainingPlan, Views
from lorarec.errors import PluginError
from lorarec.model.rec_model import STRETCH, RecModel, call, encoder_of
from lorarec.testing import tiny_backbone, tiny_catalog, tiny_views
from lorarec_adapters.frozen import Frozen
from lorarec_adapters.lora import Lora

FEATURES = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
VIEWS = Views([{"x": FEATURES[:1]}, {"x": FEATURES[1:]}], torch.tensor([2, 0, 1]))
BATCH = Batch(torch.arange(3), 3, {"texts": VIEWS})


class Third(Head):
    """A head of a family that lorarec does not know."""

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


def test_a_table_replaces_encoding_views_of_items(model: RecModel) -> None:
    views = Views([], torch.empty(0, dtype=torch.int64), torch.tensor([1, 1, 0]))
    batch = Batch(torch.arange(3), 3, {"texts": views})
    answer = call(model, RecModel.answer, batch, "token_probabilities", FEATURES)
    torch.testing.assert_close(answer, (2 * FEATURES[[1, 1, 0]]).softmax(dim=1))


def test_a_head_computes_item_vectors_in_blocks_with_the_rows(model: RecModel) -> None:
    table = torch.ones(STRETCH + 2, 1)
    prices = call(model, RecModel.answer_items, table, "prices")
    assert torch.equal(prices, torch.arange(STRETCH + 2) + 1.0)


def test_the_penalty_is_for_training_only(model: RecModel) -> None:
    assert call(model.eval(), RecModel.losses, BATCH).penalty.item() == 0.0


def test_losses_that_are_reduced_are_refused(model: RecModel) -> None:
    with pytest.raises(PluginError, match=r"Third.losses gives a tensor of shape \(3,\) for a batch of 4 targets"):
        call(model, RecModel.losses, replace(BATCH, count=4))


@pytest.mark.parametrize("given", [torch.zeros(1), torch.zeros(3), 0.0])
def test_a_regularizer_or_penalty_that_is_not_one_number_is_refused(model: RecModel, given: Any) -> None:
    object.__setattr__(model.head, "regularizer", lambda batch: given)
    with pytest.raises(PluginError, match=r"Third.regularizer gives a .*: it must be a tensor of one number"):
        call(model, RecModel.losses, BATCH)
    object.__setattr__(model.head, "regularizer", lambda batch: None)
    model.adapter.penalty = lambda module: given
    with pytest.raises(PluginError, match=r"penalty gives a .*: it must be a tensor of one number"):
        call(model, RecModel.losses, BATCH)


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


@pytest.fixture
def adapted() -> tuple[RecModel, Batch]:
    """A tiny BERT with dropout in training, and a LoRA whose weights are not the initial ones."""
    torch.manual_seed(0)
    backbone, adapter = tiny_backbone().load(tiny_catalog(), 0), Lora(Lora.Config(r=2))
    network = adapter.attach(backbone, TrainingPlan(1, 1, 0))
    disturb(network)
    features = backbone.featurizer(tiny_catalog(), 30)(tiny_views())
    views = Views([features], torch.arange(len(tiny_views())))
    return RecModel(backbone, adapter, network, Third()), Batch(torch.arange(6), 6, {"texts": views})


def disturb(network: nn.Module) -> None:
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.normal_()


def test_the_reference_is_the_bare_backbone_even_while_the_model_trains(adapted: tuple[RecModel, Batch]) -> None:
    model, batch = adapted
    bare = tiny_backbone().load(tiny_catalog(), 0)
    expected = bare.encode(bare.module, batch.views["texts"].chunks[0]).pooled
    encoder, other = (model.train().encoder(batch.views) for _ in range(2))
    with encoder.reference():
        reference = encoder.vectors("texts")
        assert torch.equal(reference, expected)
        assert not reference.requires_grad
        with torch.enable_grad():
            assert other.vectors("texts").requires_grad, "another encoder must keep its adapter"
    assert model.network.training
    assert encoder.vectors("texts").requires_grad


def test_with_a_table_only_a_backbone_without_adapter_has_a_reference_for_items(
    adapted: tuple[RecModel, Batch],
) -> None:
    table, items = torch.randn(3, 16), torch.tensor([2, 0])
    views = {"items": Views([], torch.empty(0, dtype=torch.int64), items)}
    encoder = adapted[0].encoder(views, table)
    with encoder.reference(), pytest.raises(IncompatibleError, match="there is no reference for them here"):
        encoder.vectors("items")
    backbone, adapter = tiny_backbone().load(tiny_catalog(), 0), Frozen(Frozen.Config())
    frozen = RecModel(backbone, adapter, adapter.attach(backbone, TrainingPlan(1, 1, 0)), Third())
    encoder = frozen.encoder(views, table)
    with encoder.reference():
        assert torch.equal(encoder.vectors("items"), table[items])


def test_adapters_of_other_runs_can_be_added(adapted: tuple[RecModel, Batch], tmp_path: Path) -> None:
    model, batch = adapted
    views, backbone = batch.views["texts"], tiny_backbone().load(tiny_catalog(), 0)
    theirs = Lora(Lora.Config(r=4))
    trained = theirs.attach(backbone, TrainingPlan(1, 1, 0))
    disturb(trained)
    theirs.save(trained, tmp_path)
    with torch.no_grad():
        own = model.eval().vectors(views)
        expected = backbone.encode(trained.eval(), views.chunks[0]).pooled
        model.add_adapter("a.lora", theirs, tmp_path)
        assert torch.equal(model.vectors(views, "a.lora"), expected)
        assert torch.equal(model.vectors(views), own)
    with pytest.raises(IncompatibleError, match=r"There is an adapter 'a\.lora' already"):
        model.add_adapter("a.lora", theirs, tmp_path)
    with pytest.raises(IncompatibleError, match=r"no adapter 'alora' on this model. There are: 'default', 'a\.lora'\."):
        model.vectors(views, "alora")


def test_a_backbone_that_is_no_language_model_refuses_logits(adapted: tuple[RecModel, Batch]) -> None:
    model, batch = adapted
    with pytest.raises(IncompatibleError, match="Backbone 'tiny' gives no logits of tokens"):
        model.encoder(batch.views).logits("texts", ["yes", "no"])

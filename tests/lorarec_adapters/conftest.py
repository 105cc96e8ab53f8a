"""Builders shared by the adapters' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lorarec.contracts import Adapter, TrainingPlan, TrainState
from lorarec.testing import TinyBackbone, tiny_backbone, tiny_catalog, tiny_views

Attach = Callable[..., tuple[Adapter, TinyBackbone, nn.Module]]
Read = Callable[..., Tensor]
Train = Callable[..., TrainState]


def _loaded(model_type: str = "bert", dtype: str = "float32", attention: str | None = None) -> TinyBackbone:
    return tiny_backbone(model_type, dtype, attention).load(tiny_catalog(), seed=0)


@pytest.fixture
def loaded() -> Callable[..., TinyBackbone]:
    """A tiny backbone with its weights, always the same ones."""
    return _loaded


@pytest.fixture
def attach() -> Attach:
    """Adapter, backbone and attached module, the adapter's own weights drawn from a fixed seed."""

    def build(
        adapter_class: type[Adapter],
        model_type: str = "bert",
        dtype: str = "float32",
        steps: int = 10,
        **options: Any,
    ) -> tuple[Adapter, TinyBackbone, nn.Module]:
        torch.manual_seed(0)
        adapter = adapter_class(adapter_class.Config.model_validate(options))
        backbone = _loaded(model_type, dtype)
        adapter.check(backbone.architecture())
        return adapter, backbone, adapter.attach(backbone, TrainingPlan(total_steps=steps, epochs=1, seed=0))

    return build


@pytest.fixture
def read() -> Read:
    """Vectors [B, D] of a module in eval mode."""

    def hidden(backbone: TinyBackbone, module: nn.Module) -> Tensor:
        module.eval()
        with torch.no_grad():
            return backbone.encode(module, backbone.featurizer(tiny_catalog(), 30)(tiny_views())).pooled

    return hidden


@pytest.fixture
def train() -> Train:
    """Some optimizer steps toward fixed vectors, callbacks called as the engine calls them."""

    def run(
        adapter: Adapter,
        backbone: TinyBackbone,
        module: nn.Module,
        steps: int,
        total: int | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        state: TrainState | None = None,
        callbacks: Any = None,
    ) -> TrainState:
        features = backbone.featurizer(tiny_catalog(), 30)(tiny_views())
        generator = torch.Generator().manual_seed(1)
        labels = torch.randn(len(tiny_views()), 16, generator=generator)
        optimizer = optimizer or torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
        state = state or TrainState(total_steps=total or steps)
        callbacks = adapter.callbacks(module) if callbacks is None else callbacks
        for callback in callbacks:
            callback.on_fit_start(state)
        module.train()
        for _ in range(steps):
            loss = nn.functional.mse_loss(backbone.encode(module, features).pooled.float(), labels)
            penalty = adapter.penalty(module)
            (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            state.step += 1
            for callback in callbacks:
                callback.on_optimizer_step(state)
            optimizer.zero_grad()
        return state

    return run

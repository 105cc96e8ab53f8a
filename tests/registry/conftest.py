"""Plugins for the tests, and entry points that lead to them without being installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from lorarec.contracts import (
    Adapter,
    Backbone,
    DataSource,
    Metric,
    PairPredictor,
    StrictConfig,
    TaskHead,
    TrainingStep,
    VectorPredictor,
    hookimpl,
)
from lorarec.registry.registry import Registry


def stub(contract: type, **members: Any) -> type:
    """A concrete subclass of a contract whose abstract methods are empty."""
    missing = dict.fromkeys(contract.__abstractmethods__, lambda self, *given: None)
    return type(members["name"].title(), (contract,), {**missing, "summary": "made up", **members})


class BendConfig(StrictConfig):
    """Settings of the adapter that the tests misspell."""

    r: int = Field(8, ge=1)
    alpha: float | None = None
    targets: tuple[str, ...] = ()


class FilesConfig(StrictConfig):
    """A source that needs a path."""

    path: str


PARTS: dict[str, list[type]] = {
    "lorarec_adapters": [stub(Adapter, name="bend", Config=BendConfig), stub(Adapter, name="still")],
    "lorarec_backbones": [stub(Backbone, name="words")],
    "lorarec_data_sources": [stub(DataSource, name="table", Config=FilesConfig)],
    "lorarec_task_heads": [
        stub(TaskHead, name="stars", predictor=PairPredictor, default_metrics=("rmse",), label=lambda self: "rating"),
        stub(TaskHead, name="next", predictor=VectorPredictor, default_metrics=("ndcg@10",)),
    ],
    "lorarec_steps": [stub(TrainingStep, name="accumulate")],
    "lorarec_metrics": [
        stub(Metric, name="rmse", reads="scores", higher_is_better=False),
        stub(Metric, name="auc", reads="scores", higher_is_better=True, label="click"),
        stub(Metric, name="ndcg", reads="ranks", higher_is_better=True, takes_k=True),
    ],
}


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EntryPoint]:
    """entry_point("lora", "their-package", lorarec_adapters=lambda: [...]) gives one, as if installed."""

    def made(name: str, distribution: str, **functions: Any) -> EntryPoint:
        module = ModuleType(f"made_up_{distribution.replace('-', '_')}_{name}")
        for hook, function in functions.items():
            setattr(module, hook, hookimpl(function))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        point = EntryPoint(name, module.__name__, "lorarec")
        vars(point)["dist"] = SimpleNamespace(name=distribution, version="1.2")
        return point

    return made


@pytest.fixture
def parts(entry_point: Callable[..., EntryPoint]) -> EntryPoint:
    """An entry point that offers one of everything."""
    return entry_point("parts", "parts-package", **{hook: (lambda made=made: made) for hook, made in PARTS.items()})


@pytest.fixture
def registry(parts: EntryPoint) -> Registry:
    return Registry.discover([parts])

"""Builds metrics the way an evaluation does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lorarec_metrics import binary, pairs, ranking, regression

CLASSES = {cls.name: cls for hooks in (binary, pairs, ranking, regression) for cls in hooks.lorarec_metrics()}


@pytest.fixture
def compute() -> Callable[..., float]:
    """compute("ndcg", predictions, references, users=..., k=10, catalog_size=...)"""

    def computed(
        name: str,
        predictions: Any,
        references: Any,
        users: Any = None,
        k: int | None = None,
        catalog_size: int | None = None,
    ) -> float:
        cls = CLASSES[name]
        module = cls(cls.Config(), k, catalog_size).module()
        users = [0] * len(predictions) if users is None else users
        value: float = module.compute(predictions=predictions, references=references, users=users)[name]
        return value

    return computed

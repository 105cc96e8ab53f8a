"""Builders for the tests of the backbones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from lorarec.contracts import Catalog, View
from lorarec_backbones.text import TextBackbone


@pytest.fixture(scope="session")
def make() -> Callable[..., Catalog]:
    """A builder of catalogs from titles; the texts are the titles by default."""

    def build(titles: list[str], texts: list[str] | None = None) -> Catalog:
        items = [f"i{row}" for row in range(len(titles))]
        return Catalog(Dataset.from_dict({"item": items, "title": titles, "text": texts or titles}))

    return build


@pytest.fixture(scope="session")
def catalog(make: Callable[..., Catalog]) -> Catalog:
    """Six items whose texts differ from their titles."""
    titles = ["Quick Fox", "old lamp", "Red Shoe", "blue chair (1995)", "Film of the Night", "day"]
    return make(titles, [f"{title}, a small new story" for title in titles])


@pytest.fixture(scope="session")
def views() -> list[View]:
    """An item, a user, both together, a user without feedback, and a user without events."""
    return [
        View(candidate=1),
        View(history=(0, 2, 3, 5), liked=(1, 0, 1, -1)),
        View(history=(0, 2, 3), liked=(1, 0, 1), candidate=4),
        View(history=(5, 0)),
        View(),
    ]


@pytest.fixture(scope="session")
def text(tiny_checkpoint: Callable[[str], Path]) -> Callable[..., TextBackbone]:
    """A builder of backbones, not loaded yet, from a model type and settings."""

    def build(model_type: str = "bert", **settings: Any) -> TextBackbone:
        return TextBackbone(TextBackbone.Config(checkpoint=str(tiny_checkpoint(model_type)), **settings))

    return build

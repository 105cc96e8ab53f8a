"""Small seeded events, which a test may change, and the world of a head that learns from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lorarec.testing import ToyWorld, toy_events, toy_world


@pytest.fixture
def events() -> dict[str, list[Any]]:
    """Events of 40 users and 24 items."""
    return toy_events()


@pytest.fixture
def world(events: dict[str, list[Any]]) -> Callable[..., ToyWorld]:
    """world(task, columns): the task on the events, these columns only."""
    return partial(toy_world, events)

"""No network, one thread; small seeded events, which a test may change, and a toy world of a head on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

from lorarec.testing import ToyWorld, toy_events, toy_world

torch.set_num_threads(1)


@pytest.fixture
def events() -> dict[str, list[Any]]:
    """Events of 40 users and 24 items."""
    return toy_events()


@pytest.fixture
def world(events: dict[str, list[Any]]) -> Callable[..., ToyWorld]:
    """world(task, columns): the task on the events, with only these columns."""
    return partial(toy_world, events)

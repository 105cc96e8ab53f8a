"""Plugin: what adapters, heads, backbones, sources, metrics and callbacks have in common."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from lorarec.config.strict import StrictConfig


class Plugin(ABC):
    """A named part whose settings live in its own nested `Config`.

    The registry finds the class by `name`, checks the recipe's options against `Config`, and calls `cls(config)`.
    Building a plugin must be cheap: no file is read and no weight is made before the method that needs it.
    """

    name: ClassVar[str]
    """What a recipe calls it: lower case, words joined by underscores."""
    summary: ClassVar[str]
    """One line for `lorarec plugins`."""
    paper: ClassVar[str] = ""
    """The source paper, for `lorarec plugins show`; empty where there is none."""

    class Config(StrictConfig):
        """No settings."""

    config: StrictConfig

    def __init__(self, config: StrictConfig) -> None:
        self.config = config

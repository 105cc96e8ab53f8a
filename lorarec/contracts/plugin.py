"""Plugin: what every part has in common, the hooks by which packages offer parts, and DataSource, the least of them.

A plugin module is named by an entry point in the group `lorarec` and carries functions marked `@hookimpl`. Each
takes nothing and returns the classes it offers. Hooks only register: nothing is called per step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pluggy

from lorarec.config.strict import StrictConfig
from lorarec.data.raw_tables import RawTables

if TYPE_CHECKING:
    from lorarec.contracts.adapter import Adapter
    from lorarec.contracts.backbone import Backbone
    from lorarec.contracts.loss import Loss
    from lorarec.contracts.metric import Metric
    from lorarec.contracts.task_head import TaskHead
    from lorarec.contracts.training import Callback, TrainingStep

GROUP = "lorarec"


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


class DataSource(Plugin):
    """Reads tables. Checking, numbering and splitting them is the core's work."""

    @abstractmethod
    def load(self) -> RawTables:
        """Read the tables. Raises DataError naming file, line or row, and field."""


hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def lorarec_adapters() -> Iterable[type[Adapter]]:  # type: ignore[empty-body]  # pluggy reads the signature only
    """Adapters: ways to choose and wrap the weights that train."""


@hookspec
def lorarec_task_heads() -> Iterable[type[TaskHead]]:  # type: ignore[empty-body]
    """Task heads: what is predicted, from what, under which loss."""


@hookspec
def lorarec_backbones() -> Iterable[type[Backbone]]:  # type: ignore[empty-body]
    """Backbones: pretrained encoders and the featurizers that speak their language."""


@hookspec
def lorarec_data_sources() -> Iterable[type[DataSource]]:  # type: ignore[empty-body]
    """Data sources: readers of interactions, items and users."""


@hookspec
def lorarec_metrics() -> Iterable[type[Metric]]:  # type: ignore[empty-body]
    """Metrics."""


@hookspec
def lorarec_losses() -> Iterable[type[Loss]]:  # type: ignore[empty-body]
    """Losses that heads name in their settings."""


@hookspec
def lorarec_steps() -> Iterable[type[TrainingStep]]:  # type: ignore[empty-body]
    """Training steps: how the gradients of an optimizer step come about."""


@hookspec
def lorarec_callbacks() -> Iterable[type[Callback]]:  # type: ignore[empty-body]
    """Callbacks that a recipe may add by name."""


@hookspec
def lorarec_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of recipe files that a package ships."""

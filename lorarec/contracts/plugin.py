"""Plugin: the base class of all plugins, the hooks by which packages register them, and DataSource, the simplest one.

A plugin module is named by an entry point in the group `lorarec` and has functions marked `@hookimpl`. Each takes
nothing and returns plugin classes. Hooks only register classes: nothing is called per step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pluggy

from lorarec.config.strict import StrictConfig
from lorarec.data.open_files import ReadOptions
from lorarec.data.raw_tables import RawTables
from lorarec.errors import PluginError

if TYPE_CHECKING:
    from lorarec.contracts.adapter import Adapter
    from lorarec.contracts.backbone import Backbone
    from lorarec.contracts.loss import Loss
    from lorarec.contracts.metric import Metric
    from lorarec.contracts.task_head import TaskHead
    from lorarec.contracts.training import Callback, TrainingStep

GROUP = "lorarec"


class Plugin(ABC):
    """A named component with settings in its nested class `Config`.

    The registry looks the class up by `name`, checks the recipe's options against `Config`, and calls `cls(config)`.
    The constructor must be cheap: files are read and weights created only by the methods that need them.
    """

    name: ClassVar[str]
    """Its name in recipes: lower case, words joined by underscores."""
    summary: ClassVar[str]
    """One line for `lorarec plugins`."""
    paper: ClassVar[str] = ""
    """The source paper, for `lorarec plugins show`; empty if there is none."""

    class Config(StrictConfig):
        """No settings."""

    config: StrictConfig

    def __init__(self, config: StrictConfig) -> None:
        self.config = config


ANSWERS: dict[str, Callable[[Any], bool]] = {
    "text": lambda answer: isinstance(answer, str),
    "true or false": lambda answer: isinstance(answer, bool),
    "names": lambda answer: (
        isinstance(answer, Collection)
        and not isinstance(answer, str | bytes)
        and all(isinstance(name, str) for name in answer)
    ),
}
"""Kinds of answers that would be taken for something else if they were of another type."""


def check_answers(plugin: Plugin, kind: str, **answers: Any) -> None:
    """Raise PluginError unless these answers of a plugin, by its methods, are of this kind of ANSWERS."""
    for method, answer in answers.items():
        if not ANSWERS[kind](answer):
            raise PluginError(f"Plugin '{plugin.name}': `{method}` gives a {type(answer).__name__}: it must be {kind}.")


class DataSource(Plugin):
    """Reads tables. The core checks them, encodes ids and splits them."""

    @abstractmethod
    def load(self) -> RawTables:
        """Read the tables. Raises DataError with file, line or row, and field."""

    def read_options(self) -> ReadOptions:
        """How the files of interactions are read where that is set: files of requests may be written in the same
        way."""
        return ReadOptions()


hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def lorarec_adapters() -> Iterable[type[Adapter]]:  # type: ignore[empty-body]  # pluggy reads the signature only
    """Adapters: ways to choose and wrap the weights that train."""


@hookspec
def lorarec_task_heads() -> Iterable[type[TaskHead]]:  # type: ignore[empty-body]
    """Task heads: what is predicted, from which inputs, with which loss."""


@hookspec
def lorarec_backbones() -> Iterable[type[Backbone]]:  # type: ignore[empty-body]
    """Backbones: pretrained encoders and their featurizers."""


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
    """Training steps: how the gradients of an optimizer step are computed."""


@hookspec
def lorarec_callbacks() -> Iterable[type[Callback]]:  # type: ignore[empty-body]
    """Callbacks that a recipe may add by name."""


@hookspec
def lorarec_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of recipe files that a package ships."""

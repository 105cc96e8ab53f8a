"""Discovery: load the plugins of installed packages; broken ones are kept separately, with name and error.

The environment variable LORAREC_DISABLE_PLUGINS=a,b disables the entry points `a` and `b`.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, metadata
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pluggy

from lorarec.config.strict import StrictConfig
from lorarec.contracts import plugin as hooks
from lorarec.contracts.adapter import Adapter
from lorarec.contracts.backbone import Backbone
from lorarec.contracts.loss import Loss
from lorarec.contracts.metric import Metric
from lorarec.contracts.plugin import DataSource, Plugin
from lorarec.contracts.predictor import Predictor
from lorarec.contracts.task_head import TaskHead
from lorarec.contracts.training import Callback, TrainingStep
from lorarec.errors import PluginError, described
from lorarec.registry.faults import real_interrupts

KindName = Literal["adapter", "backbone", "head", "source", "metric", "loss", "step", "callback"]
MOST_OFFERED = 1_000
DISABLE = "LORAREC_DISABLE_PLUGINS"
RECIPES = "lorarec_recipes"
"""The hook by which a package offers folders of recipes."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """One kind of plugin."""

    name: KindName
    hook: str
    contract: type[Plugin]


KINDS: dict[KindName, Kind] = {
    kind.name: kind
    for kind in (
        Kind("adapter", "lorarec_adapters", Adapter),
        Kind("backbone", "lorarec_backbones", Backbone),
        Kind("head", "lorarec_task_heads", TaskHead),
        Kind("source", "lorarec_data_sources", DataSource),
        Kind("metric", "lorarec_metrics", Metric),
        Kind("loss", "lorarec_losses", Loss),
        Kind("step", "lorarec_steps", TrainingStep),
        Kind("callback", "lorarec_callbacks", Callback),
    )
}


@dataclass(frozen=True)
class Provider:
    """The source of a plugin: an entry point of a distribution."""

    entry_point: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Broken:
    """An entry point that cannot be used, and why."""

    provider: Provider
    error: str

    def __str__(self) -> str:
        return f"Plugin '{self.provider.entry_point}' of {self.provider.distribution} is broken: {self.error}"


@dataclass(frozen=True)
class Offer:
    """One class that an entry point offers."""

    kind: KindName
    plugin: type[Plugin]
    provider: Provider


@dataclass(frozen=True)
class Discovered:
    """The result of discovery."""

    offers: tuple[Offer, ...]
    broken: tuple[Broken, ...]
    recipe_folders: tuple[Path, ...]
    switched_off: tuple[str, ...] = ()
    """Names of entry points that the environment disables."""


def discover(points: Iterable[EntryPoint] | None = None) -> Discovered:
    """Load the entry points of the group `lorarec` (or those given) that are not disabled.

    One that fails to import or breaks its contract is kept as broken, with a warning: it must not stop a run
    that does not use it. Raises PluginError if two distributions offer an entry point of the same name.
    """
    installed = list(entry_points(group=hooks.GROUP)) if points is None else list(points)
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(hooks)
    for name in _switched_off(installed):
        manager.set_blocked(name)
    chosen = [point for point in installed if not manager.is_blocked(point.name)]
    _refuse_duplicates(chosen)
    offers: list[Offer] = []
    broken: list[Broken] = []
    folders: list[Path] = []
    for point in sorted(chosen, key=lambda point: point.name):
        provider = _provider(point)
        with real_interrupts() as signals:
            try:
                result = _offered(manager, point, provider)
            except BaseException as error:  # a third-party module may raise anything while it is imported
                if signals:
                    raise
                broken.append(Broken(provider, str(error) if isinstance(error, PluginError) else described(error)))
                _log.warning("%s. It is left out.", str(broken[-1]).removesuffix("."))
                continue
        offers += result.offers
        folders += result.recipe_folders
    off = sorted({point.name for point in installed} - {point.name for point in chosen})
    return Discovered(tuple(offers), tuple(broken), tuple(folders), tuple(off))


def _switched_off(points: list[EntryPoint]) -> set[str]:
    off = {name.strip() for name in os.environ.get(DISABLE, "").split(",")} - {""}
    for name in sorted(off - {point.name for point in points}):
        _log.warning("%s names '%s', which no installed package offers.", DISABLE, name)
    return off


def _refuse_duplicates(points: list[EntryPoint]) -> None:
    first: dict[str, EntryPoint] = {}
    for point in points:
        other = first.setdefault(point.name, point)
        if other is not point:
            raise PluginError(
                f"Two packages offer a plugin '{point.name}': {_provider(other).distribution} and "
                f"{_provider(point).distribution}. "
                f"Uninstall one, or disable both with {DISABLE}={point.name}."
            )


def _provider(point: EntryPoint) -> Provider:
    if point.dist is None:
        return Provider(point.name, "an unnamed package", "")
    return Provider(point.name, point.dist.name, point.dist.version)


def is_installed(distribution: str) -> bool:
    """Whether a package of this name is installed."""
    try:
        return bool(metadata(distribution))
    except PackageNotFoundError:
        return False


def _offered(manager: pluggy.PluginManager, point: EntryPoint, provider: Provider) -> Discovered:
    """The classes and folders that one entry point offers, registered with the manager. Raises what fails in it."""
    module = point.load()
    try:
        manager.register(module, name=point.name)
    except pluggy.PluginValidationError as error:
        reason = str(error).splitlines()[-1]
        raise PluginError(f"{reason}. A hook takes nothing and returns a list of classes.") from None
    callers = manager.get_hookcallers(module)
    if not callers:
        raise PluginError(f"{point.value} has no function marked @hookimpl. See docs/plugins.md.")
    known = sorted([*(kind.hook for kind in KINDS.values()), RECIPES])
    for caller in callers:
        if not caller.has_spec():
            raise PluginError(f"there is no hook '{caller.name}'. Hooks: {', '.join(known)}.")
    returned = {caller.name: _returned(caller, module) for caller in callers}
    offers = [
        Offer(kind.name, checked_class(offered, kind, provider.distribution), provider)
        for kind in KINDS.values()
        for offered in returned.get(kind.hook, [])
    ]
    return Discovered(tuple(offers), (), tuple(Path(folder) for folder in returned.get(RECIPES, [])))


def _returned(caller: pluggy.HookCaller, module: Any) -> list[Any]:
    """What one plugin returned to a hook, as a list; calling the hook itself would call all plugins."""
    answers: list[Any] = [impl.function() for impl in caller.get_hookimpls() if impl.plugin is module]
    for answer in answers:
        if not isinstance(answer, Iterable) or isinstance(answer, str):
            raise PluginError(f"hook {caller.name} must return a list, not {type(answer).__name__}.")
    entries = list(islice((entry for answer in answers for entry in answer), MOST_OFFERED + 1))
    if len(entries) > MOST_OFFERED:
        raise PluginError(f"hook {caller.name} returns more than {MOST_OFFERED:,} entries.")
    return entries


def checked_class(offered: Any, kind: Kind, distribution: str) -> type[Plugin]:
    """The offered class, if it fulfills its kind's contract. Raises PluginError naming what is missing."""
    contract = kind.contract.__name__
    if not isinstance(offered, type) or not issubclass(offered, kind.contract):
        shown = offered.__name__ if isinstance(offered, type) else repr(offered)[:100]
        raise PluginError(f"hook {kind.hook} of {distribution} offers {shown}, which is no subclass of {contract}.")
    problem = _missing(offered, kind)
    if problem:
        raise PluginError(f"{kind.name} class {offered.__name__} of {distribution} {problem}")
    return offered


def _fits(value: Any, key: str) -> bool:
    """Whether an attribute that a class must set is of its type."""
    if key == "predictor":
        return isinstance(value, type) and issubclass(value, Predictor)
    if key == "default_metrics":
        return isinstance(value, tuple | list) and all(isinstance(metric, str) for metric in value)
    return isinstance(value, bool if key == "higher_is_better" else str)


def _missing(offered: type[Plugin], kind: Kind) -> str:
    if inspect.isabstract(offered):
        return f"does not define {', '.join(sorted(offered.__abstractmethods__))}."
    inherited = {"name", "summary"} if kind.name == "callback" else set()
    for key in ("name", "summary"):
        value = getattr(offered, key, None)
        own = any(key in vars(base) for base in offered.__mro__ if base is not kind.contract)
        if not isinstance(value, str) or not value or (key in inherited and not own):
            return f"has no '{key}'. Give it one line of text: {key} = \"...\"."
    needed = {
        "head": ("predictor", "default_metrics"),
        "metric": ("reads", "higher_is_better"),
        "loss": ("shape",),
    }.get(kind.name, ())
    for key in needed:
        if not hasattr(offered, key):
            return f"has no '{key}', which a {kind.name} must set."
        if not _fits(getattr(offered, key), key):
            return f"sets '{key}' to a {type(getattr(offered, key)).__name__}. See docs/plugins.md for what it must be."
    if not (isinstance(offered.Config, type) and issubclass(offered.Config, StrictConfig)):
        return "has a Config that is no subclass of StrictConfig."
    return ""

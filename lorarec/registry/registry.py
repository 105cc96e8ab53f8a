"""Registry: the installed plugin classes, by kind and name; losses by their shape, metrics by their label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from lorarec.config.strict import did_you_mean
from lorarec.config.yaml_text import read_yaml
from lorarec.contracts.loss import Loss, Takes
from lorarec.contracts.metric import Metric
from lorarec.contracts.plugin import Plugin
from lorarec.contracts.task_head import TaskHead
from lorarec.errors import PluginError, RecipeError
from lorarec.registry.discover import DISABLE, KINDS, Broken, Discovered, KindName, Offer, Provider, discover


class Registry:
    """The installed plugins. Created once and passed on; there is no global registry."""

    def __init__(self, discovered: Discovered) -> None:
        """Raises PluginError, naming both packages, if two classes of one kind have the same name."""
        self.broken: tuple[Broken, ...] = discovered.broken
        self.recipe_folders: tuple[Path, ...] = discovered.recipe_folders
        """Folders of recipes that plugin packages ship."""
        self._switched_off = discovered.switched_off
        self._offers: dict[KindName, dict[str, Offer]] = {kind: {} for kind in KINDS}
        for offer in discovered.offers:
            other = self._offers[offer.kind].setdefault(offer.plugin.name, offer)
            if other.plugin is not offer.plugin:
                raise PluginError(
                    f"Two plugins are the {offer.kind} '{offer.plugin.name}': "
                    f"{_whose(other)} and {_whose(offer)}. "
                    f"Uninstall one package, or disable one with {DISABLE}={_entry(offer)}."
                )

    @classmethod
    def discover(cls, points: Iterable[EntryPoint] | None = None) -> Registry:
        """The registry of all installed packages, or of the entry points given."""
        return cls(discover(points))

    def names(self, kind: KindName) -> list[str]:
        """The names of one kind, sorted."""
        return sorted(self._offers[kind])

    def offers(self) -> list[Offer]:
        """Every plugin with its provider, by kind and name."""
        return [self._offers[kind][name] for kind in KINDS for name in self.names(kind)]

    def find(self, kind: KindName, name: str) -> type[Plugin]:
        """The class called `name`.

        Raises PluginError: with the plugin's own error if it is broken, with the package to install if that is known,
        else with the nearest name and all names.
        """
        return self._offer(kind, name).plugin

    def provider(self, kind: KindName, name: str) -> Provider:
        """The provider of the plugin. Raises PluginError as `find` does."""
        return self._offer(kind, name).provider

    def how_to_install(self, name: str) -> str:
        """How to install a plugin that is known to be in a separate package; empty if none is known."""
        return next((names[name] for names in _known_packages().values() if name in names), "")

    def _offer(self, kind: KindName, name: str) -> Offer:
        if name in self._offers[kind]:
            return self._offers[kind][name]
        for broken in self.broken:
            if broken.provider.entry_point == name:
                raise PluginError(str(broken))
        if name in self._switched_off:
            raise PluginError(f"Plugin '{name}' is disabled by {DISABLE}; remove its name there.")
        names = self.names(kind)
        install = _known_packages().get(kind, {}).get(name)
        hint = f" {install}" if install else did_you_mean(name, names)
        plural = "losses" if kind == "loss" else f"{kind}s"
        listed = f" {plural.capitalize()}: {', '.join(names) or 'none'}."
        suspects = "" if install else "".join(f"\n  {broken}" for broken in self.broken)
        could = f"\nIt may be in one of these, which could not be loaded:{suspects}" if suspects else ""
        raise PluginError(f"There is no {kind} '{name}'.{hint}{listed}{could}")


def _whose(offer: Offer) -> str:
    return f"{offer.plugin.__name__} of {offer.provider.distribution}"


def _entry(offer: Offer) -> str:
    return offer.provider.entry_point


@cache
def _known_packages() -> Mapping[str, Mapping[str, Any]]:
    text = files("lorarec.registry").joinpath("known_packages.yaml").read_text(encoding="utf-8")
    values, _ = read_yaml(text, "known_packages.yaml")
    return values or {}


def loss_settings(cls: type[Plugin]) -> dict[str, tuple[Takes, Any]]:
    """The settings of a plugin that name a loss: the shapes that each accepts, and its default."""
    return {
        name: (takes, field.default)
        for name, field in cls.Config.model_fields.items()
        for takes in field.metadata
        if isinstance(takes, Takes)
    }


def names_that_fit(takes: Takes, registry: Registry) -> list[str]:
    """Losses of the accepted shapes."""
    losses = ((name, cast(type[Loss], registry.find("loss", name))) for name in registry.names("loss"))
    return [name for name, loss in losses if loss.shape in takes.shapes]


def heads_that_take(shape: str, registry: Registry) -> list[str]:
    """Heads with a setting that accepts losses of the shape."""
    settings = {name: loss_settings(registry.find("head", name)) for name in registry.names("head")}
    return [name for name, losses in settings.items() if any(shape in takes.shapes for takes, _ in losses.values())]


def find_loss(choice: Any, takes: Takes, registry: Registry) -> tuple[type[Loss], dict[str, Any]]:
    """The class of a loss that is given by its name, or by its name with options; and the options.

    Raises PluginError for an unknown name, and for a loss of another shape, with the names of those that fit.
    """
    given = {"name": choice} if isinstance(choice, str) else choice
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        fitting = ", ".join(names_that_fit(takes, registry))
        raise PluginError(f"must be the name of a loss, or {{name: NAME}} with its options. Losses: {fitting}.")
    cls = cast(type[Loss], registry.find("loss", given["name"]))
    if cls.shape not in takes.shapes:
        fitting = ", ".join(names_that_fit(takes, registry))
        raise PluginError(
            f"loss '{cls.name}' is one of {cls.shape}, and this head takes {' or '.join(takes.shapes)}. "
            f"Losses that fit: {fitting}."
        )
    return cls, {name: value for name, value in given.items() if name != "name"}


@dataclass(frozen=True)
class ResolvedMetric:
    """A metric of a recipe."""

    label: str
    """Its name in metrics.json: "rmse", "ndcg@10"."""
    cls: type[Metric]
    k: int | None


def resolve_metric(label: str, head: TaskHead | None, registry: Registry) -> tuple[ResolvedMetric, Provider]:
    """The metric of a label, and its provider; `head` is None if the recipe's head could not be built.

    Raises PluginError for an unknown name, RecipeError for a missing or extra @k and for a metric that reads
    what this head does not give.
    """
    name, at, cutoff = label.partition("@")
    cls = _metric(registry, name)
    if head is not None and not _fits(cls, head):
        known = {other: _metric(registry, other) for other in registry.names("metric")}
        fitting = [f"{other}@10" if one.takes_k else other for other, one in known.items() if _fits(one, head)]
        raise RecipeError(
            f"metric '{name}' needs {_needs(cls)}, which head '{head.name}' does not give. "
            f"Metrics for it: {', '.join(fitting) or 'none'}."
        )
    if not cls.takes_k:
        if at:
            raise RecipeError(f"metric '{name}' takes no @k; write '{name}'.")
        return ResolvedMetric(name, cls, None), registry.provider("metric", name)
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", cutoff):
        raise RecipeError(f"metric '{name}' needs a whole number after @, such as '{name}@10', not '{label}'.")
    return ResolvedMetric(f"{name}@{int(cutoff)}", cls, int(cutoff)), registry.provider("metric", name)


def _metric(registry: Registry, name: str) -> type[Metric]:
    return cast(type[Metric], registry.find("metric", name))


def _fits(cls: type[Metric], head: TaskHead) -> bool:
    return cls.reads in head.predictor.reads and cls.label in (None, head.label())


def _needs(cls: type[Metric]) -> str:
    return f"{cls.reads} labeled by '{cls.label}'" if cls.label else cls.reads

"""Registry: the plugin classes at hand, by kind and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from importlib.resources import files
from pathlib import Path
from typing import Any

from lorarec.config.suggest import did_you_mean
from lorarec.config.yaml_text import read_yaml
from lorarec.contracts.plugin import Plugin
from lorarec.errors import PluginError
from lorarec.registry.discover import DISABLE, Broken, Found, Offer, Provider, discover
from lorarec.registry.kinds import KINDS, KindName


class Registry:
    """What is installed. Made once and handed on; there is no global one."""

    def __init__(self, found: Found) -> None:
        """Raises PluginError, naming both packages, if two classes of one kind have one name."""
        self.broken: tuple[Broken, ...] = found.broken
        self.recipe_folders: tuple[Path, ...] = found.recipe_folders
        """Folders of recipes that plugin packages ship."""
        self._switched_off = found.switched_off
        self._offers: dict[KindName, dict[str, Offer]] = {kind: {} for kind in KINDS}
        for offer in found.offers:
            other = self._offers[offer.kind].setdefault(offer.plugin.name, offer)
            if other.plugin is not offer.plugin:
                raise PluginError(
                    f"Two plugins are the {offer.kind} '{offer.plugin.name}': "
                    f"{_whose(other)} and {_whose(offer)}. "
                    f"Uninstall one package, or switch one off with {DISABLE}={_entry(offer)}."
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

        Raises PluginError: with the plugin's own error if it is broken, with the package to install if it is
        known to live in one, else with the nearest name and all names.
        """
        return self._offer(kind, name).plugin

    def provider(self, kind: KindName, name: str) -> Provider:
        """Who offers the plugin. Raises PluginError as `find` does."""
        return self._offer(kind, name).provider

    def how_to_install(self, name: str) -> str:
        """What to do to get a plugin known to live in a package of its own; empty if none is known."""
        return next((names[name] for names in _known_packages().values() if name in names), "")

    def _offer(self, kind: KindName, name: str) -> Offer:
        if name in self._offers[kind]:
            return self._offers[kind][name]
        for broken in self.broken:
            if broken.provider.entry_point == name:
                raise PluginError(str(broken))
        if name in self._switched_off:
            raise PluginError(f"Plugin '{name}' is switched off by {DISABLE}; take its name out of it.")
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

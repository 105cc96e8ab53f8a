"""Document: a recipe as written, not yet checked, that remembers where each value came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lorarec.config.yaml_text import KeyPath

PLUGIN_SECTIONS: tuple[KeyPath, ...] = (("data", "source"), ("backbone",), ("adapter",), ("head",), ("train", "step"))
"""Sections that name a plugin: another name replaces the section, since its options belong to the plugin."""


@dataclass(frozen=True)
class Place:
    """Where a value was given; as text, how messages begin: "ctr.yaml:14", "override 'adapter.r=x'"."""

    origin: str
    line: int | None = None

    def __str__(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


class Document:
    """Nested settings with the place of each; a plugin section given as a name is kept as {name: ...}."""

    def __init__(self, values: Mapping[str, Any], places: Mapping[KeyPath, Place], whole: Place) -> None:
        self.values: dict[str, Any] = deepcopy(dict(values))
        self.places = dict(places)
        self.whole = whole
        """The place of the document itself, for what is missing from it."""
        for section in PLUGIN_SECTIONS:
            self._spell_out(section)

    def get(self, path: KeyPath) -> Any:
        """The value at `path`, or None where there is none."""
        value: Any = self.values
        for key in path:
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
                value = value[key]
            else:
                return None
        return value

    def where(self, path: KeyPath) -> Place:
        """The place of `path`; else of the first value inside it, else of the nearest section around it."""
        if path and path not in self.places:
            inside = [place for known, place in self.places.items() if known[: len(path)] == path]
            if inside:
                return inside[0]
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.whole

    def put(self, path: KeyPath, value: Any, places: Mapping[KeyPath, Place]) -> None:
        """Set the value at `path`, forgetting what was there; sections on the way are made.

        Raises ValueError with the dotted name of whatever stands in the way, if that is not a section.
        """
        inside = self.values
        for depth, key in enumerate(path[:-1], 1):
            if inside.get(str(key)) is None:
                inside[str(key)] = {}
            elif in_plugin(path[:depth]):  # such as the name of a loss
                self._spell_out(path[:depth])
            inside = inside[str(key)]
            if not isinstance(inside, dict):
                raise ValueError(dotted(path[:depth]))
        inside[str(path[-1])] = deepcopy(value)
        self.places = {known: place for known, place in self.places.items() if known[: len(path)] != path}
        self.places.update(places)
        for section in PLUGIN_SECTIONS:
            self._spell_out(section)

    def merge(self, above: Document) -> None:
        """Lay another over this one, key by key; lists, and sections of another plugin, are replaced."""
        self._merge((), above.values, above)
        self.whole = above.whole

    def _merge(self, path: KeyPath, value: Any, above: Document) -> None:
        if in_plugin(path) and isinstance(value, dict):
            self._spell_out(path)
        mine = self.get(path)
        renamed = (
            in_plugin(path)
            and isinstance(value, dict)
            and isinstance(mine, dict)
            and "name" in value
            and value["name"] != mine.get("name")
        )
        if isinstance(value, dict) and isinstance(mine, dict) and not renamed:
            if path in above.places:
                self.places[path] = above.places[path]
            for key, inner in value.items():
                self._merge((*path, key), inner, above)
        else:
            self.put(path, value, {known: p for known, p in above.places.items() if known[: len(path)] == path})

    def _spell_out(self, section: KeyPath) -> None:
        name = self.get(section)
        if isinstance(name, str):
            inside: Any = self.get(section[:-1])
            inside[section[-1]] = {"name": name}
            if section in self.places:
                self.places[(*section, "name")] = self.places[section]


def in_plugin(path: KeyPath) -> bool:
    """Whether `path` is a section that names a plugin or lies in one, where a loss may be named."""
    return any(path[: len(section)] == section for section in PLUGIN_SECTIONS)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `data.split.by`, `callbacks[0].name`."""

    def pieces() -> Iterator[str]:
        for depth, key in enumerate(path):
            yield f"[{key}]" if isinstance(key, int) else f".{key}" if depth else key

    return "".join(pieces())

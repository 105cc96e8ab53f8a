"""Document: a recipe as written, not yet checked, that remembers where each value came from; and overrides of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lorarec.config.yaml_text import DEPTH, KeyPath, read_scalar
from lorarec.errors import RecipeError

PLUGIN_SECTIONS: tuple[KeyPath, ...] = (("data", "source"), ("backbone",), ("adapter",), ("head",), ("train", "step"))
"""Sections that name a plugin: another name replaces the section, since its options belong to the plugin."""
MOST_OVERRIDES = 500
_EXAMPLE = "Write key=value, such as train.epochs=2."


@dataclass(frozen=True)
class Location:
    """Where a value was given. As text it begins a message: "ctr.yaml:14", "override 'adapter.r=x'"."""

    origin: str
    line: int | None = None

    def __str__(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


class Document:
    """Nested settings with the location of each; a plugin section given as a name is kept as {name: ...}."""

    def __init__(self, values: Mapping[str, Any], locations: Mapping[KeyPath, Location], whole: Location) -> None:
        self.values: dict[str, Any] = deepcopy(dict(values))
        self.locations = dict(locations)
        self.whole = whole
        """The location of the document itself, for settings that are missing from it."""
        for section in PLUGIN_SECTIONS:
            self._spell_out(section)

    def get(self, path: KeyPath) -> Any:
        """The value at `path`, or None if there is none."""
        value: Any = self.values
        for key in path:
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
                value = value[key]
            else:
                return None
        return value

    def where(self, path: KeyPath) -> Location:
        """The location of `path`; else of the first value inside it, else of the nearest section around it."""
        if path and path not in self.locations:
            inside = [location for known, location in self.locations.items() if known[: len(path)] == path]
            if inside:
                return inside[0]
        for end in range(len(path), 0, -1):
            if path[:end] in self.locations:
                return self.locations[path[:end]]
        return self.whole

    def put(self, path: KeyPath, value: Any, locations: Mapping[KeyPath, Location]) -> None:
        """Set the value at `path`, replacing the old one; missing sections on the way are created.

        Raises ValueError with the dotted name of a value on the way that is not a section.
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
        for known in _paths(inside.get(str(path[-1])), path):
            self.locations.pop(known, None)
        inside[str(path[-1])] = deepcopy(value)
        self.locations.update(locations)
        for section in PLUGIN_SECTIONS:
            self._spell_out(section)

    def merge(self, above: Document) -> None:
        """Merge another document over this one, key by key; lists, and sections of another plugin, are replaced."""
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
            if path in above.locations:
                self.locations[path] = above.locations[path]
            for key, inner in value.items():
                self._merge((*path, key), inner, above)
        else:
            inside = {known: above.locations[known] for known in _paths(value, path) if known in above.locations}
            self.put(path, value, inside)

    def _spell_out(self, section: KeyPath) -> None:
        name = self.get(section)
        if isinstance(name, str):
            inside: Any = self.get(section[:-1])
            inside[section[-1]] = {"name": name}
            if section in self.locations:
                self.locations[(*section, "name")] = self.locations[section]


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """`path`, which is that of `value`, and the path of each value inside it."""
    yield path
    entries = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    )
    for key, inner in entries:
        yield from _paths(inner, (*path, key))


def in_plugin(path: KeyPath) -> bool:
    """Whether `path` is a section that names a plugin or lies inside one, where a loss may be named."""
    return any(path[: len(section)] == section for section in PLUGIN_SECTIONS)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `data.split.by`, `callbacks[0].name`."""

    def pieces() -> Iterator[str]:
        for depth, key in enumerate(path):
            yield f"[{key}]" if isinstance(key, int) else f".{key}" if depth else key

    return "".join(pieces())


def apply_overrides(document: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `document` with the overrides applied in order.

    Raises RecipeError with every override that cannot be read.
    """
    copy = Document(document, {}, Location("recipe"))
    if problems := override_document(copy, overrides):
        raise RecipeError(problems)
    return copy.values


def override_document(
    document: Document, overrides: Sequence[str], takes_text: Callable[[KeyPath], bool] = lambda path: False
) -> list[str]:
    """Apply overrides in order, in place, and return the problems of those that cannot be read.

    `takes_text`: whether the setting at a path is a text, whose value needs no quotes. `adapter=x` replaces the
    section, `adapter.r=16` sets one key of it. Naming another plugin by `adapter.name=x` replaces the section as well:
    options belong to their plugin.
    """
    if len(overrides) > MOST_OVERRIDES:
        return [
            f"{len(overrides):,} overrides are too many; at most {MOST_OVERRIDES:,} can be given. Write a recipe file."
        ]
    problems = []
    for text in overrides:
        try:
            _override(document, text, takes_text)
        except RecipeError as error:
            problems += [f"{_named(text)}: {problem}" for problem in error.problems]
    return problems


def _override(document: Document, text: str, takes_text: Callable[[KeyPath], bool]) -> None:
    path, value = _parse(text, takes_text)
    if in_plugin(path[:-1]) and path[-1] == "name" and document.get(path) != value:
        path, value = path[:-1], {"name": value}
    try:
        document.put(path, value, {path: Location(_named(text))})
    except ValueError as error:
        raise RecipeError(f"'{error}' is not a section, so nothing can be set inside it.") from None


def _named(text: str) -> str:
    written = text if len(text) <= 200 else f"{text[:197]}..."
    return f"override '{written}'".replace("\n", "\\n")


def _parse(text: str, takes_text: Callable[[KeyPath], bool]) -> tuple[KeyPath, Any]:
    key, equals, written = text.partition("=")
    if not equals:
        raise RecipeError(f"there is no '='. {_EXAMPLE}")
    path = tuple(part.strip() for part in key.split("."))
    if not all(path):
        raise RecipeError(f"the key before '=' is empty or has an empty part. {_EXAMPLE}")
    if not written.strip():
        raise RecipeError(f"there is no value after '='. Write {key}=null, or {key}='\"\"' for empty text.")
    if len(path) > DEPTH:
        raise RecipeError(f"sections are nested more than {DEPTH} deep.")
    opening = written.strip()[0]
    if takes_text(path) and opening not in "\"'" and written.strip() not in ("null", "~"):
        return path, written.strip()
    try:
        return path, read_scalar(written)
    except RecipeError as error:
        if "not valid YAML" not in str(error):
            raise
        raise RecipeError(
            f"the value opens with {opening} but is not YAML. "
            f"For a list write {key}=[a, b]; put other text into quotes inside quotes: {key}='\"...\"'."
        ) from None

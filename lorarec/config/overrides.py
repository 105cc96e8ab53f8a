"""Overrides: `section=plugin` and `section.key=value`, as given after a recipe on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorarec.config.document import Document, Place, in_plugin
from lorarec.config.yaml_text import KeyPath, read_scalar
from lorarec.errors import RecipeError

_EXAMPLE = "Write key=value, such as train.epochs=2."


def apply_overrides(document: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`document` with the overrides applied in order; the given one is left as it is.

    Raises RecipeError with every override that cannot be read.
    """
    copy = Document(document, {}, Place("recipe"))
    if problems := override_document(copy, overrides):
        raise RecipeError(problems)
    return copy.values


def override_document(document: Document, overrides: Sequence[str]) -> list[str]:
    """Apply overrides in order, in place, and return what is wrong with those that cannot be read.

    `adapter=x` replaces the section, `adapter.r=16` sets one key of it.
    Naming another plugin by `adapter.name=x` replaces the section as well: options belong to their plugin.
    """
    problems = []
    for text in overrides:
        try:
            _override(document, text)
        except RecipeError as error:
            problems += [f"override '{text}': {problem}" for problem in error.problems]
    return problems


def _override(document: Document, text: str) -> None:
    path, value = _parse(text)
    if in_plugin(path[:-1]) and path[-1] == "name" and document.get(path) != value:
        path, value = path[:-1], {"name": value}
    place = Place(f"override '{text}'")
    try:
        document.put(path, value, {path: place})
    except ValueError as error:
        raise RecipeError(f"'{error}' is not a section, so nothing can be set inside it.") from None


def _parse(text: str) -> tuple[KeyPath, Any]:
    key, equals, written = text.partition("=")
    if not equals:
        raise RecipeError(f"there is no '='. {_EXAMPLE}")
    path = tuple(part.strip() for part in key.split("."))
    if not all(path):
        raise RecipeError(f"the key before '=' is empty or has an empty part. {_EXAMPLE}")
    if not written.strip():
        raise RecipeError(f"there is no value after '='. Write {key}=null, or {key}='\"\"' for empty text.")
    try:
        return path, read_scalar(written)
    except RecipeError:
        raise RecipeError(
            f"the value opens with {written.strip()[0]} but is not YAML. "
            f"For a list write {key}=[a, b]; put other text into quotes inside quotes: {key}='\"...\"'."
        ) from None

"""The recipe's file: read with `extends` and overrides, every mistake with its file and line; and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lorarec.config.document import Document, Place
from lorarec.config.mistakes import Mistake, find_mistakes
from lorarec.config.overrides import override_document
from lorarec.config.recipe import Recipe
from lorarec.config.recipe_search import find_recipe
from lorarec.config.yaml_text import KeyPath, read_yaml
from lorarec.errors import RecipeError


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that was read. Its mistakes are kept, so that those in its plugins' options can join them."""

    document: Document
    path: Path | None
    """The file, or None for a recipe given in Python."""
    refused: tuple[str, ...]
    """What is wrong with overrides that could not be read."""
    mistakes: tuple[Mistake, ...]
    checked: Recipe | None
    """The recipe if its settings are right; `recipe` is the way to it."""

    @property
    def recipe(self) -> Recipe:
        """The checked recipe. Raises RecipeError with all its mistakes."""
        if self.checked is None or self.refused:
            raise RecipeError(self.problems(self.mistakes))
        return self.checked

    def where(self, path: KeyPath) -> Place:
        """Where a value was given: file and line, or override."""
        return self.document.where(path)

    def problems(self, mistakes: Iterable[Mistake]) -> list[str]:
        """Mistakes as lines for people, in the order of the file, and the refused overrides."""

        def order(mistake: Mistake) -> tuple[bool, str, int]:
            place = self.where(mistake.path)
            return place.line is None, place.origin, place.line or 0

        lines = [f"{self.where(mistake.path)}: {mistake.text}" for mistake in sorted(mistakes, key=order)]
        return [*lines, *self.refused]


def load_recipe(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), folders: Iterable[Path] = ()
) -> LoadedRecipe:
    """Read a recipe from a file, by the name of a bundled one, or from a mapping, and apply overrides.

    `folders` are further folders of named recipes (plugin packages may ship some). Raises RecipeError for
    files that cannot be read; wrong settings are raised by `.recipe`, all at once.
    """
    folders = tuple(folders)
    if isinstance(source, Mapping):
        path, document = None, Document(source, {}, Place("recipe"))
        _extend(document, None, folders, ())
    else:
        path = find_recipe(source, folders)
        document = _read(path, folders, ())
    refused = tuple(override_document(document, overrides))
    try:
        return LoadedRecipe(document, path, refused, (), Recipe.model_validate(document.values))
    except ValidationError as error:
        return LoadedRecipe(document, path, refused, tuple(find_mistakes(error, Recipe, document.values)), None)


def _read(path: Path, folders: tuple[Path, ...], children: tuple[Path, ...]) -> Document:
    """One file over what it extends; `children` are the files that led here."""
    origin = _shown(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{origin}: byte {error.start} is not UTF-8 text. Save the file as UTF-8.") from None
    except OSError as error:
        raise RecipeError(f"{origin}: the file cannot be read: {error.strerror}.") from None
    values, lines = read_yaml(text, origin)
    if not isinstance(values, dict):
        found = "the file is empty" if values is None else "the file does not hold settings"
        raise RecipeError(f"{origin}: {found}. A recipe begins with 'name: ...'; see 'lorarec recipes'.")
    places = {key: Place(origin, line) for key, line in lines.items()}
    document = Document(values, places, Place(origin))
    return _extend(document, path, folders, (*children, path.resolve()))


def _extend(document: Document, path: Path | None, folders: tuple[Path, ...], children: tuple[Path, ...]) -> Document:
    """`document` laid over the recipe that its key `extends` names, if any; changed in place and returned."""
    if "extends" not in document.values:
        return document
    parent, place = document.values.pop("extends"), document.where(("extends",))
    if not isinstance(parent, str):
        raise RecipeError(f"{place}: extends must be the path or name of one recipe, not {parent!r}.")
    try:
        file = find_recipe(parent, folders, beside=path.parent if path else None)
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}") from None
    if file.resolve() in children:
        chain = " -> ".join(child.name for child in (*children, file))
        raise RecipeError(f"{place}: recipes extend each other in a circle: {chain}.")
    below = _read(file, folders, children)
    below.merge(document)
    document.values, document.places = below.values, below.places
    return document


def _shown(path: Path) -> str:
    """The path as messages give it: relative to the working folder where it lies inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)

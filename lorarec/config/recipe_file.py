"""Recipe files: by path or name, read with `extends` and overrides, every mistake with its file and line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import ValidationError

from lorarec.config.document import Document, Location, override_document
from lorarec.config.mistakes import Mistake, find_mistakes, settings_of, shown
from lorarec.config.recipe import Recipe
from lorarec.config.strict import did_you_mean
from lorarec.config.yaml_text import MOST_CHARACTERS, KeyPath, read_yaml
from lorarec.errors import RecipeError

MOST_EXTENDED = 20
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that was read. Its mistakes are kept, so that those in its plugins' options can join them."""

    document: Document
    path: Path | None
    """The file, or None for a recipe given in Python."""
    refused: tuple[str, ...]
    """Problems of overrides that could not be read."""
    mistakes: tuple[Mistake, ...]
    checked: Recipe | None
    """The recipe if its settings are valid; use `recipe` to read it."""

    @property
    def recipe(self) -> Recipe:
        """The checked recipe. Raises RecipeError with all its mistakes."""
        if self.checked is None or self.refused:
            raise RecipeError(self.problems(self.mistakes))
        return self.checked

    def where(self, path: KeyPath) -> Location:
        """Where a value was given: file and line, or override."""
        return self.document.where(path)

    def problems(self, mistakes: Iterable[Mistake]) -> list[str]:
        """Mistakes as lines for people, in the order of the file, and the refused overrides."""

        def order(mistake: Mistake) -> tuple[bool, str, int]:
            location = self.where(mistake.path)
            return location.line is None, location.origin, location.line or 0

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
        path, document = None, Document(source, {}, Location("recipe"))
        _extend(document, None, folders, ())
    else:
        path = find_recipe(source, folders)
        document = _read(path, folders, ())
    refused = tuple(override_document(document, overrides, _takes_text))
    try:
        return LoadedRecipe(document, path, refused, (), Recipe.model_validate(document.values))
    except ValidationError as error:
        return LoadedRecipe(document, path, refused, tuple(find_mistakes(error, Recipe, document.values)), None)


def _takes_text(path: KeyPath) -> bool:
    """Whether the setting of the recipe at this path is a text."""
    holder = settings_of(Recipe, path[:-1])
    field = holder.model_fields.get(str(path[-1])) if holder else None
    return field is not None and set(get_args(field.annotation) or [field.annotation]) <= {str, NoneType}


def _read(path: Path, folders: tuple[Path, ...], children: tuple[Path, ...]) -> Document:
    """One file merged over the recipe it extends; `children` are the files whose `extends` led here."""
    origin = _shown(path)
    text = _text(path, origin)
    values, lines = read_yaml(text, origin)
    if not isinstance(values, dict):
        reason = "the file is empty" if values is None else "the file does not hold settings"
        raise RecipeError(f"{origin}: {reason}. A recipe begins with 'name: ...'; see 'lorarec recipes'.")
    locations = {key: Location(origin, line) for key, line in lines.items()}
    document = Document(values, locations, Location(origin))
    return _extend(document, path, folders, (*children, path.resolve()))


def _text(path: Path, origin: str) -> str:
    """The text of a file; a file of the system that says it is empty, such as those of /proc, is not read."""
    try:
        size = path.stat().st_size
        if size > 4 * MOST_CHARACTERS:
            raise RecipeError(f"{origin}: {size:,} bytes are too many: a recipe has at most {MOST_CHARACTERS:,}.")
        return path.read_text(encoding="utf-8") if size else ""
    except UnicodeDecodeError as error:
        raise RecipeError(f"{origin}: byte {error.start} is not UTF-8 text. Save the file as UTF-8.") from None
    except OSError as error:
        raise RecipeError(f"{origin}: the file cannot be read: {error.strerror}.") from None


def _extend(document: Document, path: Path | None, folders: tuple[Path, ...], children: tuple[Path, ...]) -> Document:
    """`document` merged over the recipe that its key `extends` names, if any; changed in place and returned."""
    if "extends" not in document.values:
        return document
    parent, location = document.values.pop("extends"), document.where(("extends",))
    if not isinstance(parent, str):
        raise RecipeError(f"{location}: extends must be the path or name of one recipe, not {shown(parent)}.")
    try:
        file = find_recipe(parent, folders, relative_to=path.parent if path else None)
    except RecipeError as error:
        raise RecipeError(f"{location}: {error}") from None
    if file.resolve() in children:
        chain = " -> ".join(child.name for child in (*children, file))
        raise RecipeError(f"{location}: recipes extend each other in a circle: {chain}.")
    if len(children) > MOST_EXTENDED:
        raise RecipeError(
            f"{location}: more than {MOST_EXTENDED} recipes extend one another. Write some into one file."
        )
    below = _read(file, folders, children)
    below.merge(document)
    document.values, document.locations = below.values, below.locations
    return document


def _shown(path: Path) -> str:
    """The path as messages give it: relative to the working folder if it is inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):  # OSError: the working folder was deleted
        return str(path)


def bundled_folder() -> Path:
    """The checkout's `recipes/`, or the copy inside the wheel.

    An editable install leaves the recipes outside the package; a checkout is recognized by its pyproject.toml.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "recipes").is_dir():
        return checkout / "recipes"
    return package / "bundled_recipes"


def recipe_files(folders: Iterable[Path] = ()) -> list[Path]:
    """Every recipe that can be named: bundled ones first, then those in `folders`; sorted by name in each."""
    files: list[Path] = []
    for folder in (bundled_folder(), *folders):
        if folder.is_dir():
            files += sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES and file.is_file())
    return files


def find_recipe(source: str | Path, folders: Iterable[Path] = (), relative_to: Path | None = None) -> Path:
    """The file of a recipe: a path (it ends in .yaml or has a slash), or the name of a bundled one.

    A relative path starts at the working folder, or at `relative_to` (for a file's `extends`). Raises RecipeError
    with the nearest name if there is no such recipe, and with all files if several share the name.
    """
    folders = tuple(folders)
    if isinstance(source, Path) or source.endswith(_SUFFIXES) or "/" in source or "\\" in source:
        return _existing_file(Path(source) if relative_to is None else relative_to / source, folders)
    files = recipe_files(folders)
    named = [file for file in files if file.stem == source]
    if len(named) > 1:
        raise RecipeError(f"Several recipes are named '{source}': {', '.join(map(str, named))}. Give the path of one.")
    if named:
        return named[0]
    names = sorted({file.stem for file in files})
    here = f" A file needs its ending: '{source}.yaml'." if os.path.isfile(f"{source}.yaml") else ""
    near = did_you_mean(source, names)
    raise RecipeError(f"There is no recipe '{source}'.{near}{here} Recipes: {', '.join(names) or 'none'}.")


def _existing_file(path: Path, folders: tuple[Path, ...]) -> Path:
    try:
        if path.is_file():
            return path
        if path.is_dir():
            raise RecipeError(f"{path} is a folder; a recipe is a YAML file.")
        if path.exists():
            raise RecipeError(f"{path} is a device or pipe; a recipe is a YAML file.")
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError) as error:  # a name that is too long, or has a NUL
        raise RecipeError(f"There is no recipe file {path}: {getattr(error, 'strerror', error)}.") from None
    near = did_you_mean(path.name, [name for name in siblings if name.endswith(_SUFFIXES)])
    bundled = [file.stem for file in recipe_files(folders)]
    known = f" A bundled recipe has this name: write '{path.stem}'." if path.stem in bundled else ""
    raise RecipeError(f"There is no recipe file {path}.{near}{known}")

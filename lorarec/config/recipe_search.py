"""Where recipes are found: a file by its path, or a bundled one by its name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lorarec.config.suggest import did_you_mean
from lorarec.errors import RecipeError

_SUFFIXES = (".yaml", ".yml")


def bundled_folder() -> Path:
    """The checkout's `recipes/`, or the copy inside the wheel.

    An editable install leaves the recipes outside the package; the checkout is known by its pyproject.toml.
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


def find_recipe(source: str | Path, folders: Iterable[Path] = (), beside: Path | None = None) -> Path:
    """The file of a recipe: a path (it ends in .yaml or has a slash), or the name of a bundled one.

    A relative path starts at the working folder, or at `beside` (for a file's `extends`). Raises RecipeError
    with the nearest name if there is no such recipe, and with both files if two share the name.
    """
    folders = tuple(folders)
    if isinstance(source, Path) or source.endswith(_SUFFIXES) or "/" in source or "\\" in source:
        return _existing_file(Path(source) if beside is None else beside / source, folders)
    files = recipe_files(folders)
    named = [file for file in files if file.stem == source]
    if len(named) > 1:
        raise RecipeError(f"Several recipes are named '{source}': {', '.join(map(str, named))}. Give the path of one.")
    if named:
        return named[0]
    names = sorted({file.stem for file in files})
    here = f" A file needs its ending: '{source}.yaml'." if Path(f"{source}.yaml").is_file() else ""
    near = did_you_mean(source, names)
    raise RecipeError(f"There is no recipe '{source}'.{near}{here} Recipes: {', '.join(names) or 'none'}.")


def _existing_file(path: Path, folders: tuple[Path, ...]) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; a recipe is a YAML file.")
    siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = did_you_mean(path.name, [name for name in siblings if name.endswith(_SUFFIXES)])
    bundled = [file.stem for file in recipe_files(folders)]
    known = f" A bundled recipe has this name: write '{path.stem}'." if path.stem in bundled else ""
    raise RecipeError(f"There is no recipe file {path}.{near}{known}")

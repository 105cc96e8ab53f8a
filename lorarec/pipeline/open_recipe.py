"""Open a recipe, or that of a finished run: read it, apply overrides, find its plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorarec.artifact import layout
from lorarec.artifact.reader import RunFolder
from lorarec.config.recipe_file import load_recipe
from lorarec.errors import ArtifactError, RecipeError
from lorarec.registry.registry import Registry
from lorarec.registry.resolve import ResolvedRecipe, resolve


def open_recipe(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> ResolvedRecipe:
    """A recipe by file, bundled name or mapping, with its plugins built. Raises RecipeError with all its mistakes."""
    registry = Registry.discover()
    return resolve(load_recipe(recipe, overrides, registry.recipe_folders), registry)


def open_run_recipe(folder: RunFolder) -> ResolvedRecipe:
    """The recipe of a finished run, its backbone reading the run's own copy where there is one.

    Raises ArtifactError where another version wrote the recipe and this one no longer reads it.
    """
    try:
        resolved = open_recipe(folder.path / layout.RECIPE)
    except RecipeError as error:
        raise ArtifactError(
            f"{folder.path}: its recipe is of another version of lorarec or of a plugin, and is no longer read:\n"
            f"{error}\nTrain a recipe so changed again, or install the versions that environment.json names."
        ) from error
    if folder.backbone is not None:
        resolved.backbone.use_copy(folder.backbone)
    return resolved

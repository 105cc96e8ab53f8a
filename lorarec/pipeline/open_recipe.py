"""Open a recipe: read it, apply overrides, find its plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorarec.config.recipe_file import load_recipe
from lorarec.registry.registry import Registry
from lorarec.registry.resolve import ResolvedRecipe, resolve


def open_recipe(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> ResolvedRecipe:
    """A recipe by file, bundled name or mapping, with its plugins built. Raises RecipeError with all its mistakes."""
    registry = Registry.discover()
    return resolve(load_recipe(recipe, overrides, registry.recipe_folders), registry)

"""`lorarec recipes`: list, show and copy the recipes that can be given by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.output import print_table

recipes_app = typer.Typer(help="List, show and copy recipes.", invoke_without_command=True)
NamedRecipe = Annotated[str, typer.Argument(metavar="NAME", help="The recipe's name.", show_default=False)]


@recipes_app.callback()
def list_recipes(context: typer.Context) -> None:
    """List the recipes that can be given by name: bundled ones and those of installed plugin packages."""
    if context.invoked_subcommand:
        return
    from lorarec.config.recipe_file import recipe_files

    print_table(["recipe", "about"], [(file.stem, _about(file)) for file in recipe_files(_folders())])


@recipes_app.command("show")
def show_recipe(name: NamedRecipe) -> None:
    """Print a recipe."""
    print(_find(name).read_text(encoding="utf-8"), end="")


@recipes_app.command("copy")
def copy_recipe(
    name: NamedRecipe,
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="[DEST]", help="File or folder; NAME.yaml here by default.", show_default=False),
    ] = None,
) -> None:
    """Copy a recipe in order to change it."""
    from lorarec.disk import check_target, write_text
    from lorarec.errors import RecipeError

    source = _find(name)
    target = destination or Path(source.name)
    if os.path.isdir(target):
        target = target / source.name
    if os.path.lexists(target):
        raise RecipeError(f"{target} exists already. Give another destination, or move it away.")
    check_target(target)
    if not target.parent.is_dir():
        raise RecipeError(f"There is no folder {target.parent} to copy the recipe into.")
    write_text(target, source.read_text(encoding="utf-8"))
    print(f"The recipe is in {target}.")


def _folders() -> tuple[Path, ...]:
    from lorarec.registry.registry import Registry

    return Registry.discover().recipe_folders


def _find(name: str) -> Path:
    from lorarec.config.recipe_file import find_recipe

    return find_recipe(name, _folders())


def _about(file: Path) -> str:
    """A recipe's description, or the error if the file cannot be read."""
    from lorarec.config.yaml_text import read_yaml
    from lorarec.errors import RecipeError

    try:
        values, _ = read_yaml(file.read_text(encoding="utf-8"), file.name)
    except RecipeError as error:
        return str(error)
    return str(values.get("description", "")) if isinstance(values, dict) else ""

"""`lorarec plugins`: the installed plugins, who provides them, and their settings."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

import typer

from lorarec.cli.output import print_lines, print_table

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from lorarec.contracts.loss import Loss
    from lorarec.registry.discover import Offer
    from lorarec.registry.registry import Registry

_TYPE_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", NoneType: "null"}
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

plugins_app = typer.Typer(help="List and describe installed plugins.", invoke_without_command=True)


@plugins_app.callback()
def list_plugins(context: typer.Context) -> None:
    """List every plugin, and those that are broken."""
    if context.invoked_subcommand:
        return
    from lorarec.registry.registry import Registry

    registry = Registry.discover()
    print_table(
        ["kind", "name", "about", "provided by"],
        [(offer.kind, offer.plugin.name, offer.plugin.summary, str(offer.provider)) for offer in registry.offers()],
    )
    print_lines(str(broken) for broken in registry.broken)


@plugins_app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name.", show_default=False)],
) -> None:
    """Print a plugin's settings, their types and defaults, its paper and who provides it."""
    from lorarec.registry.registry import Registry

    registry = Registry.discover()
    for offer in _offers_named(name, registry):
        _describe(offer, registry)


def _offers_named(name: str, registry: Registry) -> list[Offer]:
    """The plugins of that name, of any kind. Raises PluginError saying what to do if there is none."""
    from lorarec.config.strict import did_you_mean
    from lorarec.errors import PluginError

    offers = [offer for offer in registry.offers() if offer.plugin.name == name]
    if offers:
        return offers
    for broken in registry.broken:
        if broken.provider.entry_point == name:
            raise PluginError(str(broken))
    if hint := registry.how_to_install(name):
        raise PluginError(f"There is no plugin '{name}'. {hint}")
    near = did_you_mean(name, {offer.plugin.name for offer in registry.offers()})
    raise PluginError(f"There is no plugin '{name}'.{near} See 'lorarec plugins'.")


def _describe(offer: Offer, registry: Registry) -> None:
    from lorarec.registry.registry import heads_that_take

    plugin = offer.plugin
    lines = [f"{offer.kind} '{plugin.name}': {plugin.summary}", f"Provided by {offer.provider}."]
    if plugin.paper:
        lines.append(f"Paper: {plugin.paper}")
    if offer.kind == "loss":
        shape = cast("type[Loss]", plugin).shape
        lines.append(f"Shape: {shape}. Heads that take it: {', '.join(heads_that_take(shape, registry)) or 'none'}.")
    rows = setting_rows(plugin.Config)
    print_lines(lines if rows else [*lines, "It has no settings."])
    if rows:
        print_table(["setting", "type", "default", "about"], rows)


def setting_rows(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """Name, type, default and description of each setting, in the order of the class."""
    from lorarec.config.strict import descriptions

    described = descriptions(model)
    return [
        (name, _type_of(field), _default_of(field), " ".join(described.get(name, "").split()))
        for name, field in model.model_fields.items()
    ]


def _type_of(field: FieldInfo) -> str:
    from lorarec.contracts.loss import Takes

    for takes in field.metadata:
        if isinstance(takes, Takes):
            return f"loss of {' or '.join(takes.shapes)}, by name"
    return f"{_type_name(field.annotation)}{_limits(field.metadata)}"


def _default_of(field: FieldInfo) -> str:
    from pydantic import BaseModel

    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, tuple | list | set | frozenset):
        return f"[{', '.join(str(entry) for entry in value)}]"
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if _plain(value) else str(value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _type_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{_type_name(inner[0])}{_limits(inner[1:])}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type_name(each) for each in inner))
    if origin is Literal:
        return " | ".join(str(choice) for choice in inner)
    if origin in (tuple, list, set, frozenset):
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return f"{_type_name(inner[0])} to {_type_name(inner[1])}"
    return _TYPE_NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _limits(metadata: Any) -> str:
    """ " >= 1, < 2": the bounds among an annotation's metadata, which pydantic may wrap in a FieldInfo."""
    constraints = [inner for each in metadata for inner in getattr(each, "metadata", [each])]
    limits = [
        f"{sign} {getattr(each, key)}"
        for each in constraints
        for key, sign in _SIGNS.items()
        if getattr(each, key, None) is not None
    ]
    return f" {', '.join(limits)}" if limits else ""

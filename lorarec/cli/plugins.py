"""`lorarec plugins`: what is installed, who provides it, and each plugin's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from lorarec.cli.output import print_lines, print_table

if TYPE_CHECKING:
    from lorarec.contracts.loss import Loss
    from lorarec.registry.discover import Offer
    from lorarec.registry.registry import Registry

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
    """The plugins of that name, of whatever kind. Raises PluginError saying what to do if there is none."""
    from lorarec.config.strict import did_you_mean
    from lorarec.errors import PluginError

    found = [offer for offer in registry.offers() if offer.plugin.name == name]
    if found:
        return found
    for broken in registry.broken:
        if broken.provider.entry_point == name:
            raise PluginError(str(broken))
    if hint := registry.how_to_install(name):
        raise PluginError(f"There is no plugin '{name}'. {hint}")
    near = did_you_mean(name, {offer.plugin.name for offer in registry.offers()})
    raise PluginError(f"There is no plugin '{name}'.{near} See 'lorarec plugins'.")


def _describe(offer: Offer, registry: Registry) -> None:
    from lorarec.cli.settings import setting_rows
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

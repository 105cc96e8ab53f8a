"""made: a plugin as a recipe would make it."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from lorarec.contracts import Plugin
from lorarec.registry.losses import find_loss, loss_settings
from lorarec.registry.registry import Registry

P = TypeVar("P", bound=Plugin)


def made(plugin_class: type[P], **options: Any) -> P:
    """The plugin with these settings, as in a recipe: a head's loss is given by its name.

    Raises PluginError for a loss that is not installed or does not fit, pydantic's ValidationError for other settings.
    """
    losses = {}
    for setting, (takes, default) in loss_settings(plugin_class).items():
        loss, given = find_loss(options.get(setting, default), takes, _installed())
        losses[setting] = loss(loss.Config.model_validate(given))
    return plugin_class(plugin_class.Config.model_validate({**options, **losses}))


@cache
def _installed() -> Registry:
    return Registry.discover()

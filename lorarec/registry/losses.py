"""Losses that a head's settings name: found, checked for their shape, and built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from lorarec.contracts.loss import Loss, Takes
from lorarec.contracts.plugin import Plugin
from lorarec.errors import PluginError
from lorarec.registry.registry import Registry


def loss_settings(cls: type[Plugin]) -> dict[str, tuple[Takes, Any]]:
    """The settings of a plugin that name a loss: what each takes, and its default."""
    return {
        name: (takes, field.default)
        for name, field in cls.Config.model_fields.items()
        for takes in field.metadata
        if isinstance(takes, Takes)
    }


def names_that_fit(takes: Takes, registry: Registry) -> list[str]:
    """Losses of the shapes that are taken."""
    losses = ((name, cast(type[Loss], registry.find("loss", name))) for name in registry.names("loss"))
    return [name for name, loss in losses if loss.shape in takes.shapes]


def heads_that_take(shape: str, registry: Registry) -> list[str]:
    """Heads with a setting that takes losses of the shape."""
    settings = {name: loss_settings(registry.find("head", name)) for name in registry.names("head")}
    return [name for name, found in settings.items() if any(shape in takes.shapes for takes, _ in found.values())]


def find_loss(choice: Any, takes: Takes, registry: Registry) -> tuple[type[Loss], dict[str, Any]]:
    """The class of a loss that is chosen by its name, or by its name with options; and the options.

    Raises PluginError for an unknown name, and for a loss of another shape, with the names of those that fit.
    """
    given = {"name": choice} if isinstance(choice, str) else choice
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        fitting = ", ".join(names_that_fit(takes, registry))
        raise PluginError(f"must be the name of a loss, or {{name: NAME}} with its options. Losses: {fitting}.")
    cls = cast(type[Loss], registry.find("loss", given["name"]))
    if cls.shape not in takes.shapes:
        fitting = ", ".join(names_that_fit(takes, registry))
        raise PluginError(
            f"loss '{cls.name}' is one of {cls.shape}, and this head takes {' or '.join(takes.shapes)}. "
            f"Losses that fit: {fitting}."
        )
    return cls, {name: value for name, value in given.items() if name != "name"}

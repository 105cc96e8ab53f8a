"""`lorarec schema`: the JSON Schema of a recipe, for editors, with the settings of every installed plugin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from lorarec.contracts.metric import Metric
    from lorarec.contracts.plugin import Plugin
    from lorarec.registry.discover import KindName
    from lorarec.registry.registry import Registry

_REF = "#/$defs/{model}"


def schema() -> None:
    """Print the JSON Schema of a recipe, with plugin settings: editors use it to complete and check recipes."""
    from lorarec.registry.registry import Registry

    print(json.dumps(recipe_schema(Registry.discover()), indent=2))


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe with the registry's plugins.

    A recipe that extends another may leave out anything that the other contains.
    """
    from lorarec.config.recipe import Recipe

    root: dict[str, Any] = Recipe.model_json_schema(ref_template=_REF)
    definitions: dict[str, Any] = root["$defs"]
    definitions.pop("PluginChoice", None)
    properties_of: dict[KindName, dict[str, Any]] = {
        "source": definitions["DataSection"]["properties"],
        "backbone": root["properties"],
        "adapter": root["properties"],
        "head": root["properties"],
        "step": definitions["TrainSection"]["properties"],
    }
    for kind, properties in properties_of.items():
        properties[kind] = _choice(kind, registry, definitions)
    root["properties"]["callbacks"]["items"] = _choice("callback", registry, definitions)
    definitions["EvaluateSection"]["properties"]["metrics"]["items"] = _metrics(registry)
    root["properties"]["extends"] = {
        "type": "string",
        "description": "A recipe, by file or name, that this changes.",
    }
    required = {
        "required": root.pop("required"),
        "properties": _named(definitions["DataSection"].pop("required")),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "if": {"required": ["extends"]},
        "else": required,
    }


def _named(data_required: list[str]) -> dict[str, Any]:
    """Required values of a recipe that does not extend another: a source, and the names of plugins."""
    named = {"anyOf": [{"type": "string"}, {"required": ["name"]}]}
    sections = dict.fromkeys(("backbone", "adapter", "head"), named)
    return {"data": {"required": data_required, "properties": {"source": named}}, **sections}


def _choice(
    kind: KindName, registry: Registry, definitions: dict[str, Any], among: list[str] | None = None
) -> dict[str, Any]:
    """A plugin's name, its name with settings, or settings only, for the plugin of the extended recipe."""
    names = registry.names(kind) if among is None else among
    plugins = [(name, registry.find(kind, name)) for name in names]
    name_only = [name for name, plugin in plugins if not _required(plugin)]
    forms = [_with_options(kind, name, plugin, registry, definitions) for name, plugin in plugins]
    nameless = {"type": "object", "not": {"required": ["name"]}}
    return {"oneOf": [{"type": "string", "enum": name_only}, *forms, nameless]} if names else {"not": {}}


def _with_options(
    kind: KindName, name: str, plugin: type[Plugin], registry: Registry, definitions: dict[str, Any]
) -> dict[str, Any]:
    from lorarec.registry.registry import loss_settings, names_that_fit

    # Two plugins may have nested settings classes of the same name, so definitions are prefixed by kind and name.
    prefix = f"{kind}.{name}."
    options = plugin.Config.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    definitions.update({f"{prefix}{inner}": value for inner, value in options.pop("$defs", {}).items()})
    options["properties"] = {"name": {"const": name}, **options.get("properties", {})}
    for setting, (takes, _) in loss_settings(plugin).items():
        losses = _choice("loss", registry, definitions, names_that_fit(takes, registry))
        options["properties"][setting] |= losses
    options["required"] = ["name", *options.get("required", [])]
    return {**options, "title": f"{kind} {name}", "description": plugin.summary}


def _required(plugin: type[Plugin]) -> bool:
    return any(field.is_required() for field in plugin.Config.model_fields.values())


def _metrics(registry: Registry) -> dict[str, Any]:
    metrics = [cast("type[Metric]", registry.find("metric", name)) for name in registry.names("metric")]
    without_k = [metric.name for metric in metrics if not metric.takes_k]
    with_k = "|".join(metric.name for metric in metrics if metric.takes_k)
    return {"anyOf": [{"enum": without_k}, {"type": "string", "pattern": f"^({with_k})@[1-9][0-9]*$"}]}

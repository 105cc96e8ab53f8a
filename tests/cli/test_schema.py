"""The JSON Schema contains every plugin, and describes the bundled recipes."""

import json

import pytest

from lorarec.cli.main import run
from lorarec.cli.schema import recipe_schema
from lorarec.config.recipe_file import recipe_files
from lorarec.config.yaml_text import read_yaml
from lorarec.registry.registry import Registry


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.fixture(scope="module")
def schema(registry):
    return recipe_schema(registry)


def form(schema, section, name):
    properties = schema["$defs"]["DataSection"]["properties"] if section == "source" else schema["properties"]
    return next(form for form in properties[section]["oneOf"] if form.get("title", "").endswith(f" {name}"))


def test_it_is_printed_as_json(capsys):
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["adapter"]


def test_each_plugin_is_a_name_or_an_object_with_its_settings(schema, registry):
    for section in ("adapter", "backbone", "head", "source"):
        for name in registry.names(section):
            described = form(schema, section, name)
            config = registry.find(section, name).Config
            assert described["properties"]["name"] == {"const": name}
            assert set(described["properties"]) == {"name", *config.model_fields}
            # Options of PEFT's methods are given next to `method`, and are checked against PEFT's configuration.
            assert described["additionalProperties"] is (config.model_config["extra"] == "allow")
    names = schema["properties"]["adapter"]["oneOf"][0]
    assert {"lora", "prefix"} <= set(names["enum"])


def test_every_reference_has_a_definition(schema):
    def references(node):
        if isinstance(node, dict):
            yield from (value for key, value in node.items() if key == "$ref")
            node = list(node.values())
        if isinstance(node, list):
            for inner in node:
                yield from references(inner)

    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"], reference


def test_a_recipe_that_extends_another_may_leave_things_out(schema):
    assert "required" not in schema
    assert schema["if"] == {"required": ["extends"]}
    assert {"adapter", "backbone", "head", "data", "name"} <= set(schema["else"]["required"])


@pytest.mark.parametrize("file", recipe_files(), ids=lambda file: file.stem)
def test_a_bundled_recipe_uses_only_settings_of_the_schema(schema, file):
    values, _ = read_yaml(file.read_text(encoding="utf-8"), file.name)
    assert set(values) <= set(schema["properties"])
    for section in ("adapter", "backbone", "head"):
        given = values.get(section)
        if isinstance(given, dict) and "name" in given:
            assert set(given) <= set(form(schema, section, given["name"])["properties"])

"""YAML as recipes use it: read with the line of every key, and written so that it reads back the same.

PyYAML follows YAML 1.1, in which `1e-3` is text, `no` is false, `12:30` is 750 and a repeated key silently
wins. Recipes follow YAML 1.2's core schema instead, and a repeated key is refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from lorarec.errors import RecipeError

KeyPath = tuple[str | int, ...]
"""Where a value stands in a document: ("data", "split", "by")."""

_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_CORE_SCHEMA = [
    ("null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
]


class _Loader(yaml.SafeLoader):
    """Safe, and resolves plain scalars by YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes text that either YAML 1.1 or 1.2 would take for something else."""


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.replace(".", "") if node.value[-1].isalpha() else node.value)


for _kind, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, _first)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def read_yaml(text: str, origin: str) -> tuple[Any, dict[KeyPath, int]]:
    """The value written in `text`, and the line (from 1) of each key and list entry.

    Raises RecipeError naming `origin` and line for text that is not YAML, and for repeated keys.
    """
    loader = _Loader(text)
    lines: dict[KeyPath, int] = {}
    try:
        node = loader.get_single_node()
        return (None if node is None else _value(loader, node, (), lines, origin, ())), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{origin}:{mark.line + 1}" if mark else origin
        raise RecipeError(f"{place}: this is not valid YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{origin}: this is not valid YAML: {error}.") from None
    finally:
        loader.dispose()


def read_scalar(text: str) -> Any:
    """One value as an override gives it: bare words are taken whole (`a: b #c` too), the rest is YAML.

    Raises RecipeError with a hint to quote, if brackets or quotes do not close.
    """
    text = text.strip()
    if text[:1] in ("[", "{", '"', "'"):
        return read_yaml(text, "value")[0]
    loader = _Loader("")
    try:
        tag: str = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return loader.construct_object(yaml.ScalarNode(tag, text))
    finally:
        loader.dispose()


def write_yaml(value: Any) -> str:
    """`value` as YAML in the order given, which `read_yaml` reads back the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _value(
    loader: _Loader,
    node: yaml.Node,
    path: KeyPath,
    lines: dict[KeyPath, int],
    origin: str,
    parents: tuple[yaml.Node, ...],
) -> Any:
    if node in parents:
        raise RecipeError(f"{origin}:{node.start_mark.line + 1}: an anchor refers to itself.")
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        entries = []
        for place, child in enumerate(node.value):
            lines[(*path, place)] = child.start_mark.line + 1
            entries.append(_value(loader, child, (*path, place), lines, origin, (*parents, node)))
        return entries
    if not isinstance(node, yaml.MappingNode) or node.tag != "tag:yaml.org,2002:map":
        raise RecipeError(f"{origin}:{node.start_mark.line + 1}: tags such as {node.tag} are not allowed in a recipe.")
    values: dict[str, Any] = {}
    for key_node, child in node.value:
        key, line = _key(key_node, origin), key_node.start_mark.line + 1
        if key in values:
            first = lines[(*path, key)]
            raise RecipeError(f"{origin}:{line}: '{key}' is given twice (first on line {first}). Keep one.")
        lines[(*path, key)] = line
        values[key] = _value(loader, child, (*path, key), lines, origin, (*parents, node))
    return values


def _key(node: yaml.Node, origin: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise RecipeError(f"{origin}:{node.start_mark.line + 1}: a key must be text; put it in quotes.")
    return str(node.value)

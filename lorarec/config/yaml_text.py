"""YAML of recipes: read with the line of every key, and written so that it reads back the same.

Recipes follow YAML 1.2's core schema: `no`, `12:30` and `2020-01-01` are text, `1e-3` is a number. A repeated key, an
anchor that refers to itself and a tag that would create an object are refused.
"""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lorarec.errors import RecipeError

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value in a document: ("data", "split", "by")."""

DEPTH = 100
"""How deep sections may be nested."""
MOST_VALUES = 100_000
"""How many values a document may have, once its aliases are expanded."""
INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


class _Constructor(SafeConstructor):
    """Keeps as text what ruamel would read as dates, merges or numbers with underscores: YAML 1.2 has none of these."""

    def construct_number(self, node: ScalarNode) -> int | float | str:
        if "_" in node.value or node.value.lstrip("+-").startswith("0b"):
            return str(node.value)
        return self.construct_yaml_int(node) if node.tag == INT else self.construct_yaml_float(node)


for _kind in ("timestamp", "merge", "value"):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_kind}", SafeConstructor.construct_yaml_str)
for _kind in (INT, FLOAT):
    _Constructor.add_constructor(_kind, _Constructor.construct_number)


def read_yaml(text: str, origin: str) -> tuple[Any, dict[KeyPath, int]]:
    """The value written in `text`, and the line (from 1) of each key and list entry.

    Raises RecipeError naming `origin` and line for text that is not YAML, and for repeated keys.
    """
    yaml = _reader()
    lines: dict[KeyPath, int] = {}
    try:
        node = yaml.compose(text)
        return (None if node is None else _value(yaml, node, (), lines, origin, ())), lines
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}:{mark.line + 1}" if mark else origin
        if isinstance(error, MaxDepthExceededError):
            raise RecipeError(f"{where}: sections are nested more than {DEPTH} deep.") from None
        raise RecipeError(f"{where}: this is not valid YAML: {error.problem or error.context}.") from None
    except YAMLError as error:
        raise RecipeError(f"{origin}: this is not valid YAML: {error}.") from None


def _scalar(yaml: YAML, node: ScalarNode, here: str) -> Any:
    try:
        return yaml.constructor.construct_object(node)
    except (ValueError, LookupError):  # a tag that the text does not fit, or an integer of thousands of digits
        kind = str(node.tag).rpartition(":")[2]
        raise RecipeError(f"{here}: {node.value[:40]!r} cannot be read as {kind}.") from None


def read_scalar(text: str) -> Any:
    """One value of an override: unquoted text is taken whole (`a: b #c` too), the rest is YAML.

    Raises RecipeError with a hint to quote, if brackets or quotes do not close.
    """
    text = text.strip()
    if text[:1] in ("[", "{", '"', "'"):
        return read_yaml(text, "value")[0]
    yaml = _reader()
    return _scalar(yaml, ScalarNode(yaml.resolver.resolve(ScalarNode, text, (True, False)), text), "value")


def write_yaml(value: Any) -> str:
    """`value` as YAML in the order given, which `read_yaml` reads back the same."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.width = sys.maxsize  # if folded, a text with a backslash at the fold would not read back
    stream = StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _reader() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    yaml.max_depth = DEPTH
    return yaml


def _value(
    yaml: YAML, node: Node, path: KeyPath, lines: dict[KeyPath, int], origin: str, parents: tuple[Node, ...]
) -> Any:
    here = f"{origin}:{node.start_mark.line + 1}"
    if node in parents:
        raise RecipeError(f"{here}: an anchor refers to itself.")
    if len(lines) > MOST_VALUES:
        raise RecipeError(f"{origin}: aliases stand for more than {MOST_VALUES:,} values.")
    if isinstance(node, ScalarNode):
        return _scalar(yaml, node, here)
    if isinstance(node, SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        entries = []
        for number, child in enumerate(node.value):
            lines[(*path, number)] = child.start_mark.line + 1
            entries.append(_value(yaml, child, (*path, number), lines, origin, (*parents, node)))
        return entries
    if not isinstance(node, MappingNode) or node.tag != "tag:yaml.org,2002:map":
        raise RecipeError(f"{here}: tags such as {node.tag} are not allowed in a recipe.")
    values: dict[str, Any] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        key = _scalar(yaml, key_node, f"{origin}:{line}") if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str):
            raise RecipeError(f"{origin}:{line}: a key must be text; put it in quotes.")
        if key in values:
            first = lines[(*path, key)]
            raise RecipeError(f"{origin}:{line}: '{key}' is given twice (first on line {first}). Keep one.")
        lines[(*path, key)] = line
        values[key] = _value(yaml, child, (*path, key), lines, origin, (*parents, node))
    return values

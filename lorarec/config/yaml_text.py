"""YAML of recipes: read with the line of every key, and written so that it reads back the same.

Recipes follow YAML 1.2's core schema: `no`, `12:30` and `2020-01-01` are text, `1e-3` is a number. A repeated key, an
anchor that refers to itself and a tag that would create an object are refused.
"""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from lorarec.errors import RecipeError

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value in a document: ("data", "split", "by")."""

DEPTH = 100
"""How deep sections may be nested."""
MOST_VALUES = 5_000
"""How many values a document may have, once its aliases are expanded."""
MOST_CHARACTERS = 500_000
"""How long a document may be. Reading one of this length takes less than a second."""
INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


class _Constructor(SafeConstructor):
    """Keeps as text what ruamel would read as dates, merges or numbers with underscores: YAML 1.2 has none of these."""

    def construct_number(self, node: ScalarNode) -> int | float | str:
        if "_" in node.value or node.value.lstrip("+-").startswith("0b"):
            return str(node.value)
        return self.construct_yaml_int(node) if node.tag == INT else self.construct_yaml_float(node)


_TEXT = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "merge", "value", "yaml"))
for _kind in _TEXT:
    _Constructor.add_constructor(_kind, SafeConstructor.construct_yaml_str)
for _kind in (INT, FLOAT):
    _Constructor.add_constructor(_kind, _Constructor.construct_number)
_NAMES = {INT: "a whole number", FLOAT: "a number", "tag:yaml.org,2002:bool": "true or false"}
_SCALARS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:null", *_NAMES, *_TEXT)


class _TooManyValues(YAMLError):
    """A document with more than MOST_VALUES values."""


class _Composer(Composer):
    """Stops at the first value too many, since composing takes most of the time of reading."""

    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.count += 1
        if self.count > MOST_VALUES:
            raise _TooManyValues
        return super().compose_node(parent, index)


def read_yaml(text: str, origin: str) -> tuple[Any, dict[KeyPath, int]]:
    """The value written in `text`, and the line (from 1) of each key and list entry.

    Raises RecipeError naming `origin` and line for text that is not YAML, for repeated keys, and for documents that are
    too long or nested too deep.
    """
    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{origin}: {len(text):,} characters are too many: a recipe has at most {MOST_CHARACTERS:,}.")
    yaml = _reader()
    lines: dict[KeyPath, int] = {}
    try:
        node = yaml.compose(text)
        return (None if node is None else _value(yaml, node, (), lines, origin, ())), lines
    except (YAMLError, ValueError, OverflowError) as error:
        raise RecipeError(_what_is_wrong(error, text, origin)) from None


def _what_is_wrong(error: Exception, text: str, origin: str) -> str:
    """Why `text` is not YAML, in one line."""
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"{origin}:{mark.line + 1}" if mark else origin
        if isinstance(error, MaxDepthExceededError):
            return f"{where}: sections are nested more than {DEPTH} deep."
        return f"{where}: this is not valid YAML: {error.problem or error.context}."
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{origin}:{line}: the character U+{ord(text[error.position]):04X} may not be in a recipe. Remove it."
    if isinstance(error, _TooManyValues):
        return f"{origin}: a recipe has at most {MOST_VALUES:,} values, aliases included."
    return (
        f"{origin}: this is not valid YAML: a number is out of range, such as that of an escaped character ({error})."
    )


def _scalar(yaml: YAML, node: ScalarNode, here: str) -> Any:
    if node.tag not in _SCALARS:
        raise RecipeError(_tag_refused(node, here))
    try:
        value = yaml.constructor.construct_object(node)
    except (ValueError, LookupError):  # a tag that the text does not fit, or thousands of digits
        raise RecipeError(f"{here}: {node.value[:40]!r} cannot be read as {_NAMES[node.tag]}.") from None
    if isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value):
        raise RecipeError(f"{here}: {value[:40]!r} is not Unicode text: it has half of a surrogate pair.")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise RecipeError(f"{here}: {node.value[:40]}... is too large for a whole number.")
    return value


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
    yaml.Composer = _Composer
    yaml.max_depth = DEPTH
    return yaml


def _tag_refused(node: Node, here: str) -> str:
    return f"{here}: the tag {node.tag} is not allowed in a recipe. Remove it."


def _value(
    yaml: YAML, node: Node, path: KeyPath, lines: dict[KeyPath, int], origin: str, parents: tuple[Node, ...]
) -> Any:
    here = f"{origin}:{node.start_mark.line + 1}"
    if node in parents:
        raise RecipeError(f"{here}: an anchor refers to itself.")
    if len(lines) > MOST_VALUES:
        raise _TooManyValues
    if isinstance(node, ScalarNode):
        return _scalar(yaml, node, here)
    if isinstance(node, SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        entries = []
        for number, child in enumerate(node.value):
            lines[(*path, number)] = child.start_mark.line + 1
            entries.append(_value(yaml, child, (*path, number), lines, origin, (*parents, node)))
        return entries
    if not isinstance(node, MappingNode) or node.tag != "tag:yaml.org,2002:map":
        raise RecipeError(_tag_refused(node, here))
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

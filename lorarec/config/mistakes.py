"""Mistakes: pydantic's errors in plain words, one line each, with the nearest known key or choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lorarec.config.document import dotted
from lorarec.config.strict import StrictConfig, did_you_mean
from lorarec.config.yaml_text import KeyPath

_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_too_large": "a whole number of at most 19 digits",
    "bool_for_number": "a number",
    "string_unicode": "Unicode text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "path_type": "a path",
    "none_required": "null",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "tuple_type": "a list, such as [a, b]",
    "list_type": "a list, such as [a, b]",
    "set_type": "a list, such as [a, b]",
    "frozen_set_type": "a list, such as [a, b]",
    "too_short": "a list of at least {min_length} entries",
    "too_long": "a list of at most {max_length} entries",
    "dict_type": "a section of settings",
    "mapping_type": "a section of settings",
    "model_type": "a section of settings",
    "model_attributes_type": "a section of settings",
}


@dataclass(frozen=True)
class Mistake:
    """One mistake: the path it is about, and its message."""

    path: KeyPath
    text: str


def find_mistakes(
    error: ValidationError,
    model: type[BaseModel],
    values: Any,
    prefix: KeyPath = (),
    name: Callable[[KeyPath], str] | None = None,
) -> list[Mistake]:
    """Every mistake of `values` under `model`, each once, with paths that start at `prefix`.

    `name` gives a section's name from its path; dotted keys by default.
    """
    name = name or (lambda path: dotted(path) if path else "the recipe")
    grouped: dict[KeyPath, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        path = _path_in(values, detail["loc"], detail["type"])
        grouped.setdefault(path, []).append(detail)
    return [
        Mistake(prefix + path, _sentence(path, details, model, prefix, name))
        for path, details in grouped.items()
        if not _follows(path, details, grouped)
    ]


def _follows(path: KeyPath, details: list[Mapping[str, Any]], grouped: Mapping[KeyPath, Any]) -> bool:
    """Whether a list is only too short because of mistakes in its entries, which are said."""
    entries = any(len(other) > len(path) and other[: len(path)] == path for other in grouped)
    return details[0]["type"] == "too_short" and entries


def settings_of(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The settings class at `path` below `model`, or None where the path leads to no such class."""
    inner: type[BaseModel] | None = model
    for key in path:
        if isinstance(key, int):
            continue
        if inner is None or key not in inner.model_fields:
            return None
        inner = _model_in(inner.model_fields[key].annotation)
    return inner


def _sentence(
    path: KeyPath,
    details: list[Mapping[str, Any]],
    model: type[BaseModel],
    prefix: KeyPath,
    name: Callable[[KeyPath], str],
) -> str:
    first = details[0]
    kind, subject = first["type"], name(prefix + path)
    if kind == "extra_forbidden":
        return _unknown_key(path, model, name(prefix + path[:-1]), root=not prefix)
    if kind == "missing":
        return f"{name(prefix + path[:-1])} needs '{path[-1]}', which is missing."
    if kind in ("value_error", "assertion_error"):
        return f"{subject}: {first['ctx']['error']}".rstrip(".") + "."
    if kind in _WANTED or kind == "literal_error":
        wanted = list(dict.fromkeys(_wanted(detail) for detail in details))
        choices = [choice for detail in details for choice in _choices(detail)]
        given = first["input"]
        near = did_you_mean(given, choices) if isinstance(given, str) else ""
        quote = " Put it in quotes." if "text" in wanted and not isinstance(given, dict | list | type(None)) else ""
        if "text" in wanted and isinstance(given, dict):
            quote = " Put a text that begins with '{' in quotes (on the command line: inside quotes)."
        return f"{subject} must be {' or '.join(wanted)}, not {shown(given)}.{near}{quote}"
    return f"{subject}: {first['msg'][0].lower()}{first['msg'][1:]}, not {shown(first['input'])}."


def _unknown_key(path: KeyPath, model: type[BaseModel], section: str, root: bool) -> str:
    key = str(path[-1])
    holder = settings_of(model, path[:-1])
    known = sorted(holder.model_fields) if holder else []
    if isinstance(holder, type) and issubclass(holder, StrictConfig) and key in holder.renamed:
        return f"{section} has no setting '{key}': it is called '{holder.renamed[key]}' now."
    hint = did_you_mean(key, known)
    if root and not hint:
        # A known key on the wrong level, such as `epochs` next to `train`, is a common mistake.
        homes = [dotted((top, key)) for top in model.model_fields if _has(settings_of(model, (top,)), key)]
        hint = f" Did you mean '{homes[0]}'?" if homes else ""
    return f"{section} has no setting '{key}'.{hint} Settings: {', '.join(known) or 'none'}."


def _has(model: type[BaseModel] | None, key: str) -> bool:
    return model is not None and key in model.model_fields


def _wanted(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "literal_error":
        choices = _choices(detail)
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    context = {key: f"{value:g}" if isinstance(value, float) else value for key, value in detail.get("ctx", {}).items()}
    return _WANTED[detail["type"]].format(**context)


def _choices(detail: Mapping[str, Any]) -> list[str]:
    if detail["type"] != "literal_error":
        return []
    expected = detail["ctx"]["expected"]
    return re.findall(r"'((?:[^'\\]|\\.)*)'", expected) or [expected]


def shown(value: Any) -> str:
    """A value as messages give it: as in YAML, and short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a section of settings"
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _path_in(values: Any, location: tuple[int | str, ...], kind: str) -> KeyPath:
    """The part of pydantic's location that is in the document: names of union branches are left out."""
    path: list[int | str] = []
    value = values
    for depth, key in enumerate(location):
        last = depth == len(location) - 1
        if isinstance(value, Mapping) and (key in value or (last and kind == "missing")):
            path.append(key)
            value = value.get(key)
        elif isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
            path.append(key)
            value = value[key]
    return tuple(path)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict) or hasattr(annotation, "__metadata__"):
        for inner in get_args(annotation):
            if get_origin(inner) is not Literal and (settings := _model_in(inner)):
                return settings
    return None

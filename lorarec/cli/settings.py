"""A plugin's settings as rows of a table: name, type, default, description."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lorarec.contracts.loss import Takes

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", NoneType: "null"}
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def setting_rows(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """One row a setting, in the order of the class."""
    return [
        (name, _type_of(field), _default_of(field), " ".join((field.description or "").split()))
        for name, field in model.model_fields.items()
    ]


def _type_of(field: FieldInfo) -> str:
    for takes in field.metadata:
        if isinstance(takes, Takes):
            return f"loss of {' or '.join(takes.shapes)}, by name"
    return f"{_words(field.annotation)}{_limits(field.metadata)}"


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its own"
    if isinstance(value, tuple | list | set | frozenset):
        return f"[{', '.join(str(entry) for entry in value)}]"
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if _plain(value) else str(value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{_words(inner[0])}{_limits(inner[1:])}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in inner))
    if origin is Literal:
        return " | ".join(str(choice) for choice in inner)
    if origin in (tuple, list, set, frozenset):
        return f"list of {_words(inner[0])}"
    if origin is dict:
        return f"{_words(inner[0])} to {_words(inner[1])}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _limits(metadata: Any) -> str:
    """ " >= 1, < 2": the bounds among an annotation's metadata, which pydantic may wrap in a FieldInfo."""
    constraints = [inner for each in metadata for inner in getattr(each, "metadata", [each])]
    found = [
        f"{sign} {getattr(each, key)}"
        for each in constraints
        for key, sign in _SIGNS.items()
        if getattr(each, key, None) is not None
    ]
    return f" {', '.join(found)}" if found else ""

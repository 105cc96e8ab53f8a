"""StrictConfig: settings that refuse unknown keys; and the nearest name to a misspelled one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from inspect import cleandoc, getsource
from itertools import pairwise
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class StrictConfig(BaseModel):
    """Frozen settings that refuse unknown keys; infinite and NaN numbers are refused as well.

    Every plugin's `Config` and every section of a recipe is one. Give each field a type, a default if there is a
    sensible one, and a docstring below it: `lorarec plugins show` and the JSON Schema print it.
    """

    # Not `use_attribute_docstrings`: reading the source of every class takes a sixth of the time to load a run.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    renamed: ClassVar[Mapping[str, str]] = {}
    """Former names of settings -> current names. A recipe with a former name is refused with a message that gives the
    current one; recipes of finished runs are still read. It replaces the base's: start from `{**Base.renamed}`."""

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses what pydantic would accept, also inside lists and maps: `epochs: true` as 1, numbers that need more
        than 64 bits, and text that cannot be written to a file."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        numbers, booleans = _takes(annotation, (int, float)), _takes(annotation, (bool, True, False))
        for inner in _scalars(value):
            if isinstance(inner, bool) and numbers and not booleans:
                raise PydanticCustomError("bool_for_number", "must not be true or false")
            if isinstance(inner, int) and numbers and abs(inner) >= 2**63:
                raise PydanticCustomError("int_too_large", "must have at most 63 bits")
            if isinstance(inner, str) and any("\ud800" <= character <= "\udfff" for character in inner):
                raise PydanticCustomError("string_unicode", "must be Unicode text")
        return value

    def idle(self, works: Mapping[str, bool]) -> list[str]:
        """The settings that are set though nothing reads them, for a validator that refuses them.

        `works`: whether each setting has an effect beside the others. A default counts as not set, since the recipe of
        a run folder lists all defaults.
        """
        fields = type(self).model_fields
        return [name for name, used in works.items() if not used and getattr(self, name) != fields[name].default]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler(schema)
        properties = handler.resolve_ref_schema(written).get("properties", {})
        for name, description in descriptions(cls).items():
            properties.get(name, {}).setdefault("description", description)
        return written


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring below each setting says, or its field; settings without one are left out."""
    texts: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            texts |= _docstrings(cls)
    given = {name: field.description for name, field in model.model_fields.items() if field.description}
    return {name: text for name, text in (texts | given).items() if name in model.model_fields}


def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """The strings below the annotated names of a class; none where its source is not at hand."""
    parsed = _classes(cls.__module__).get(cls.__qualname__)
    below: dict[str, str] = {}
    for statement, after in pairwise(() if parsed is None else parsed.body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            below[statement.target.id] = cleandoc(after.value.value)
    return below


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module by their qualified names; none where its source is not at hand."""
    try:
        inside: list[tuple[str, ast.AST]] = [("", ast.parse(getsource(sys.modules[module])))]
    except (OSError, TypeError, SyntaxError, KeyError):
        return {}
    classes: dict[str, ast.ClassDef] = {}
    for prefix, node in inside:  # which grows
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.ClassDef):
                classes[prefix + each.name] = each
                inside.append((f"{prefix}{each.name}.", each))
            elif isinstance(each, ast.FunctionDef):
                inside.append((f"{prefix}{each.name}.<locals>.", each))
    return classes


def _takes(annotation: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether this annotation accepts one of these types or values, alone or inside others."""
    if annotation in (Any, object) or any(annotation is kind for kind in kinds):
        return True
    return any(_takes(inner, kinds) for inner in get_args(annotation))


def _scalars(value: Any) -> Iterator[Any]:
    """A value, or the keys and values inside a list or map of any depth."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _scalars(inner)
    else:
        yield value


def _initials(name: str) -> str:
    """The first letters of the words of a name: "lr" of learning_rate, "r" of rank."""
    return "".join(part[:1] for part in name.split("_"))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint to put at the end of a message: " Did you mean 'alpha'?", or nothing when no name is near."""
    names = sorted(known)
    folded = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    near = near or [
        name for name in folded if word.lower() in (name, _initials(name)) or name == _initials(word.lower())
    ]
    return f" Did you mean '{folded[near[0]]}'?" if near else ""

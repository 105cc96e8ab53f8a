"""StrictConfig: settings that refuse unknown keys; and the nearest name to a misspelled one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class StrictConfig(BaseModel):
    """Frozen settings that refuse unknown keys; infinite and NaN numbers are refused as well.

    Every plugin's `Config` and every section of a recipe is one. Give each field a type, a default if there is a
    sensible one, and a docstring below it: `lorarec plugins show` and the JSON Schema print it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )
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

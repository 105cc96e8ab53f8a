"""Options of PEFT's methods: those that a recipe may set, their types, and sizes that fit the layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn
from transformers.pytorch_utils import Conv1D

from lorarec.contracts import IncompatibleError, did_you_mean
from lorarec_adapters.peft_methods import SET_HERE, Method, Shapes, Side, method_of


def method_names() -> list[str]:
    """Every method that the installed PEFT registers, in lower case."""
    return sorted(kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING)


def open_methods() -> list[str]:
    """The methods that are not refused."""
    return [name for name in method_names() if not method_of(name).refused]


def config_class(method: str) -> type[PeftConfig]:
    """The PEFT configuration class of a method."""
    config: type[PeftConfig] = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(method.upper())]
    return config


@cache
def option_types(method: str) -> Mapping[str, Any]:
    """The options that a recipe may set, with their types as PEFT declares them."""
    config, ours = config_class(method), SET_HERE.keys() | method_of(method).withheld.keys()
    types = get_type_hints(config)
    return {
        option.name: types[option.name]
        for option in fields(config)
        if option.name not in ours and _plain(types[option.name])
    }


def check_method(method: str) -> None:
    """Raise ValueError, with the reason or the nearest name, if the method cannot be used."""
    if method not in method_names():
        known = open_methods()
        raise ValueError(f"PEFT has no method '{method}'.{did_you_mean(method, known)} There are: {', '.join(known)}")
    if reason := method_of(method).refused:
        raise ValueError(f"method '{method}' does not fit: {reason}")


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that the method does not have, that a recipe may not set, or of another type."""
    known = option_types(method)
    declared = {option.name for option in fields(config_class(method))}
    for option, value in options.items():
        if option not in known:
            raise ValueError(_refusal(method, option, declared))
        try:
            TypeAdapter(known[option], config=_Strict.config).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ValueError(f"method '{method}': {option}: {reason[0].lower()}{reason[1:]}, not {value!r}") from None
    if missing := [option for option in method_of(method).required if option not in options]:
        raise ValueError(f"method '{method}' needs '{missing[0]}', which is missing")


class _Strict:
    config = ConfigDict(allow_inf_nan=False)


def _refusal(method: str, option: str, declared: set[str]) -> str:
    known = option_types(method)
    if option not in declared:
        return f"method '{method}' has no option '{option}'.{did_you_mean(option, known)} There are: {', '.join(known)}"
    reason = SET_HERE.get(option) or method_of(method).withheld.get(option) or "it is not a plain value"
    return f"method '{method}': '{option}' cannot be set: {reason}"


def _plain(annotation: Any) -> bool:
    """Whether a recipe can contain values of this type: numbers, words, and lists and mappings of them."""
    if annotation in (int, float, str, bool, NoneType, dict, list) or get_origin(annotation) is Literal:
        return True
    if get_origin(annotation) in (Union, UnionType, list, dict, tuple):
        return all(_plain(inner) for inner in get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, str)  # PEFT's enumerations of words


def shape_of(layer: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer or transformers' Conv1D."""
    linear: Any = layer
    return (linear.nx, linear.nf) if isinstance(layer, Conv1D) else (linear.in_features, linear.out_features)


def fitting_sizes(called: str, method: Method, config: Any, shapes: Shapes, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the sizes that a recipe has not `given`, derived from the defaults of PEFT's `config`.

    Raises IncompatibleError for a given size that does not fit; `called` names adapter and method in the message.
    """
    sizes: dict[str, Any] = {}
    for option, side in method.divides.items():
        widths = _widths(shapes, side)
        width, size = math.gcd(*widths), given.get(option)
        if size and width % size:  # PEFT takes 0 for "not this one"
            raise IncompatibleError(
                f"{called}: {option}={size} does not divide the widths of the targeted layers "
                f"({', '.join(map(str, widths))}). Use a divisor of {width}, such as {_largest_divisor(width, size)}."
            )
        default = getattr(config, option)
        if size is None and default:
            sizes[option] = _largest_divisor(width, default)
    for option, fitted in method.by_width.items():
        if option not in given:
            sizes[option] = fitted(getattr(config, option), shapes)
    return sizes


def _widths(shapes: Shapes, side: Side) -> list[int]:
    chosen = {"inputs": [0], "outputs": [1], "both": [0, 1]}[side]
    return sorted({shape[side] for shape in shapes for side in chosen})


def _largest_divisor(width: int, at_most: int) -> int:
    return next(number for number in range(min(width, at_most), 0, -1) if width % number == 0)

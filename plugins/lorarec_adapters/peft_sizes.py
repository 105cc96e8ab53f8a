"""Sizes of PEFT's methods that must fit the widths of the layers they go on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from lorarec.contracts import IncompatibleError
from lorarec_adapters.peft_methods import Method, Shapes, Side


def shape_of(layer: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer or transformers' Conv1D."""
    linear: Any = layer
    return (linear.nx, linear.nf) if isinstance(layer, Conv1D) else (linear.in_features, linear.out_features)


def fitting_sizes(called: str, method: Method, config: Any, shapes: Shapes, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the sizes that a recipe has not `given`, made of the defaults of PEFT's `config`.

    Raises IncompatibleError, in which `called` names adapter and method, for one that was given and does not fit.
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
    return sorted({shape[place] for shape in shapes for place in chosen})


def _largest_divisor(width: int, at_most: int) -> int:
    return next(number for number in range(min(width, at_most), 0, -1) if width % number == 0)

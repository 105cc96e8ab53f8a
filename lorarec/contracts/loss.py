"""Loss: how far predictions are from labels. A loss can be used by every head that accepts its shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from torch import Tensor, nn

from lorarec.contracts.plugin import Plugin
from lorarec.data.statistics import Statistics

SHAPES = {
    "regression": "predictions [T] and labels [T], in the unit of the label",
    "binary": "logits [T] and labels [T] of 0 and 1",
    "ranking": "logits [T, 1 + R] of the preferred item, first, and of R others",
    "softmax": "scores [T, N] of the whole catalog and the rows [T] of the targets",
    "contrast": "log-odds of the targets [T] and of drawn items [T, K]; a mask of drawn items that are the target "
    "[T, K]; the expected number of draws of each drawn item [K]",
}
"""The signatures of losses: the arguments that a head passes. All return [T], one loss per target. Other heads may
define other shapes."""


class LossFunction(nn.Module):
    """The module that a loss builds: `forward` takes the tensors of its shape and returns [T] float32 losses. It may
    have weights, which train with the head's and are saved with them."""

    def answer(self, predictions: Tensor) -> Tensor:
        """[T] answers from the model's predictions, for losses of the shape "regression"."""
        return predictions


class Loss(Plugin):
    """A loss that a recipe names, with its settings: `loss: {name: huber, delta: 2}`.

    In addition to `name` and `summary`, it sets `shape`, one of SHAPES: the arguments that it takes, and so the heads
    that it fits.
    """

    shape: ClassVar[str]
    """One of SHAPES: which heads it fits."""
    uniform_only: ClassVar[bool] = False
    """For the shape "contrast": whether items must be drawn uniformly, since expected draws are not used."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Reached only by settings of this type that lack `Takes`."""
        raise TypeError(
            "a setting that names a loss must give the shapes that it accepts: "
            'loss: Annotated[Loss, Takes("binary")] = named("bce")'
        )

    @abstractmethod
    def build(self, statistics: Statistics) -> LossFunction:
        """The loss module for this training data. Raises DataError if the loss cannot be used with it."""

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError if these labels, of these rows of the table, are not valid. Accepts all by default."""


@dataclass(frozen=True)
class Takes:
    """Marks the setting of a head that names a loss: `loss: Annotated[Loss, Takes("regression")] = named("mse")`.

    A recipe gives a name, or a name with options; it is replaced by the loss itself before the settings are created.
    """

    shapes: tuple[str, ...]

    def __init__(self, *shapes: str) -> None:
        object.__setattr__(self, "shapes", shapes)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _only_a_loss, serialization=core_schema.plain_serializer_function_ser_schema(written)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {}  # `lorarec schema` adds the names of losses


def named(name: str) -> Any:
    """The default of a setting that names a loss."""
    return Field(default=name)


def _only_a_loss(value: Any) -> Loss:
    if isinstance(value, Loss):
        return value
    raise ValueError("a loss is looked up by name when a recipe is read; in tests, use lorarec.testing.made")


def written(plugin: Plugin) -> dict[str, Any]:
    """A plugin as in a recipe, with every default."""
    return {"name": plugin.name, **plugin.config.model_dump(mode="json")}


def moved(values: Any, now: Mapping[str, tuple[Any, str]], where: str = "a setting of the loss") -> Any:
    """Settings without those that have moved, by default to the loss: name -> its old default, and the new spelling.

    The old default, which is in the recipes of earlier run folders, is dropped. Raises ValueError for any other value,
    with the new location of the setting (`where`). For a validator with mode "before".
    """
    if not isinstance(values, Mapping):
        return values
    for name, (default, spelling) in now.items():
        if name in values and values[name] != default:
            raise ValueError(f"{name} is {where} now: write {spelling}")
    return {name: value for name, value in values.items() if name not in now}

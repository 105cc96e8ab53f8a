"""Loss: what it costs to have said one thing where another was so. Used by any head it fits."""

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
    "ranking": "logits [T, 1 + R] of what was better, first, and of R others",
    "softmax": "scores [T, N] of the whole catalog and the rows [T] of the targets",
    "contrast": "log-odds of the targets [T] and of drawn items [T, K]; where a drawn one is the target [T, K]; how "
    "often each was to be expected for each time it was drawn [K]",
}
"""The signatures of losses: what a head hands over. All give [T], one loss a target. A head of another kind may take
losses of another shape."""


class LossFunction(nn.Module):
    """What a loss builds: `forward`, with the tensors of its shape, gives [T] float32 losses. It may have weights,
    which train with the head's and are saved with them."""

    def answer(self, predictions: Tensor) -> Tensor:
        """[T] what to answer where the model predicts this, with losses of the shape "regression"."""
        return predictions


class Loss(Plugin):
    """A loss that recipes name. Its settings are its own: `loss: {name: huber, delta: 2}`.

    Beside `name` and `summary`, it sets `shape`, one of SHAPES, which says what it is called with and which heads it
    fits.
    """

    shape: ClassVar[str]
    """One of SHAPES: which heads it fits."""
    uniform_only: ClassVar[bool] = False
    """For the shape "contrast": whether items must be drawn uniformly, since what was to be expected is not read."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Reached only by settings of this type that lack `Takes`."""
        raise TypeError(
            "a setting that names a loss says which shapes of losses it takes: "
            'loss: Annotated[Loss, Takes("binary")] = named("bce")'
        )

    @abstractmethod
    def build(self, statistics: Statistics) -> LossFunction:
        """The loss for what training knows. Raises DataError where it cannot be learned by."""

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError if these labels, of these rows of the table, cannot be learned by. Accepts all by default."""


@dataclass(frozen=True)
class Takes:
    """Marks the setting of a head that names a loss: `loss: Annotated[Loss, Takes("regression")] = named("mse")`.

    A recipe gives a name, or a name with options; by the time the settings are made, it is the loss itself.
    """

    shapes: tuple[str, ...]

    def __init__(self, *shapes: str) -> None:
        object.__setattr__(self, "shapes", shapes)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _only_a_loss, serialization=core_schema.plain_serializer_function_ser_schema(written)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {}  # `lorarec schema` knows which losses there are


def named(name: str) -> Any:
    """The default of a setting that names a loss."""
    return Field(default=name)


def _only_a_loss(value: Any) -> Loss:
    if isinstance(value, Loss):
        return value
    raise ValueError("a loss is found by its name when a recipe is read; in tests, lorarec.testing.tiny does it")


def written(plugin: Plugin) -> dict[str, Any]:
    """A plugin as a recipe writes it, with every default."""
    return {"name": plugin.name, **plugin.config.model_dump(mode="json")}


def moved(values: Any, now: Mapping[str, tuple[Any, str]], where: str = "a setting of the loss") -> Any:
    """Settings without those that have moved, by default into a loss's own: name -> its old default, and the new
    spelling.

    The old default, which the recipe of an earlier run folder writes out, is dropped. Raises ValueError for any other
    value, which says `where` the setting is now. For a validator with mode "before".
    """
    if not isinstance(values, Mapping):
        return values
    for name, (default, spelling) in now.items():
        if name in values and values[name] != default:
            raise ValueError(f"{name} is {where} now: write {spelling}")
    return {name: value for name, value in values.items() if name not in now}

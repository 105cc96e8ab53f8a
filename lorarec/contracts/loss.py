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
from lorarec.data.file_rows import Rows
from lorarec.data.statistics import Statistics
from lorarec.errors import PluginError

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

    def module(self, statistics: Statistics) -> LossFunction:
        """What `build` gives, with every result checked: the loss as heads use it. Raises PluginError for a result of
        another shape or type."""
        function = self.build(statistics)
        if not isinstance(function, nn.Module):
            raise PluginError(f"loss '{self.name}': `build` gives a {type(function).__name__}, and no LossFunction.")

        def check(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], losses: Any) -> None:
            predictions = next(iter((*given, *named.values())))
            check_losses(losses, len(predictions), f"loss '{self.name}'")

        function.register_forward_hook(check, with_kwargs=True)
        return function

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError if these labels, of these rows of the files, are not valid. Accepts all by default."""


def check_losses(losses: Any, count: int, where: str) -> None:
    """Raise PluginError unless these are the losses [count] of a batch of `count` targets."""
    if not isinstance(losses, Tensor) or not losses.is_floating_point():
        what = f"a tensor of {losses.dtype}" if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
        raise PluginError(f"{where} gives {what}: it must be a tensor of one float per target.")
    if losses.shape != (count,):
        raise PluginError(
            f"{where} gives a tensor of shape {tuple(losses.shape)} for a batch of {count} targets: it must be "
            f"[{count}], one loss per target, not reduced."
        )


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

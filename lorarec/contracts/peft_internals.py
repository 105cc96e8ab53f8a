"""What is built on the inside of PEFT, beyond its documented functions: all of it is in this file.

Look here first when PEFT is upgraded: raise `TESTED` and the upper bound in pyproject.toml together.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

TESTED = "0.21"
"""The minor version of PEFT that this file was written against and tested with."""
HALF = (torch.bfloat16, torch.float16)


def multiply_in_half_precision(wrapped: nn.Module) -> None:
    """Let the LoRA layers on half-precision weights cast A and B down instead of their inputs up, in place.

    PEFT casts every input to the float32 of A and B, multiplies there and casts the sum back: an eighth of a training
    step of a small encoder, for digits that the sum loses again. A and B themselves stay float32 and learn in it, as
    under autocast.
    """
    for layer in wrapped.modules():
        if isinstance(layer, Linear) and layer.weight.dtype in HALF:
            layer.forward = MethodType(_half_precision_forward, layer)


def _half_precision_forward(layer: Any, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """W x + b + scaling * B A x, [..., out] from [..., in].

    For one plain adapter; whatever else PEFT may be asked for (several adapters, merged or disabled ones, DoRA and
    other variants, biases, keywords such as `adapter_names`) is left to PEFT.
    """
    name = _only_plain_adapter(layer)
    if name is None or args or kwargs:
        whole: Tensor = type(layer).forward(layer, inputs, *args, **kwargs)
        return whole
    base = layer.base_layer(inputs)
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    inner = nn.functional.linear(layer.lora_dropout[name](inputs), a.to(inputs.dtype))
    scaled = (b * layer.scaling[name]).to(inputs.dtype)
    return torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), scaled.t()).view(base.shape)


def _only_plain_adapter(layer: Any) -> str | None:
    """The name of the one active adapter of a LoRA layer, if that is all there is to compute."""
    if layer.merged or layer.disable_adapters:
        return None
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or active[0] in layer.lora_variant or layer.lora_bias.get(active[0]):
        return None
    name: str = active[0]
    return name

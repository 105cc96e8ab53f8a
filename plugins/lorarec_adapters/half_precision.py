"""Half precision: LoRA's own two products in the type of the half-precision layer that they stand beside."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)
NAME = "default"
"""What PEFT calls the one adapter there is."""


def multiply_in_half_precision(wrapped: nn.Module) -> None:
    """Let the LoRA layers on half-precision weights cast A and B down instead of their inputs up, in place.

    PEFT casts every input to the float32 of A and B, multiplies there and casts the sum back: an eighth of a training
    step of a small encoder, for digits that the sum loses again. A and B themselves stay float32 and learn in it, as
    under autocast. Not for DoRA, which needs more than the two products.
    """
    for layer in wrapped.modules():
        if isinstance(layer, Linear) and layer.weight.dtype in HALF and not layer.use_dora.get(NAME):
            layer.forward = MethodType(_forward, layer)


def _forward(layer: Any, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """W x + b + scaling * B A x, [..., out] from [..., in]."""
    if layer.merged or layer.disable_adapters:
        whole: Tensor = Linear.forward(layer, inputs, *args, **kwargs)
        return whole
    base = layer.base_layer(inputs)
    a, b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
    inner = nn.functional.linear(layer.lora_dropout[NAME](inputs), a.to(inputs.dtype))
    scaled = (b * layer.scaling[NAME]).to(inputs.dtype)
    return torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), scaled.t()).view(base.shape)

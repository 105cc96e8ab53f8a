"""What is built on the inside of PEFT, beyond its documented functions: all that is private or patched is in this file.

Look here first when PEFT is upgraded: raise `TESTED` and the upper bound in pyproject.toml together. The state of
AdaLoRA's allocator, which PEFT keeps in no `state_dict`, is read and put back by the adapter `adalora`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft.tuners.lora import Linear
from peft.tuners.prefix_tuning import PrefixEncoder
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from lorarec.contracts.adapter import OWN_ADAPTER
from lorarec.errors import IncompatibleError

TESTED = "0.21"
"""The minor version of PEFT that this file was written against and tested with."""
ENCODED = "adapter_"


def peft_name(name: str) -> str:
    """What PEFT calls the adapter that a user calls `name`, which may be any text.

    PEFT looks adapter names up as parts of parameter names: one like "lora" or "a.b" would hit others' weights. A run's
    own adapter keeps PEFT's own default, under which other tools look for it.
    """
    return OWN_ADAPTER if name == OWN_ADAPTER else ENCODED + name.encode("utf-8", "surrogatepass").hex()


def user_name(name: str) -> str:
    """The name that `peft_name` was given."""
    if not name.startswith(ENCODED):
        return name
    return bytes.fromhex(name.removeprefix(ENCODED)).decode("utf-8", "surrogatepass")


_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_locks_change = threading.Lock()


def _lock_of(module: nn.Module) -> threading.RLock:
    # Not kept on the module: a copy of it needs a lock of its own, and locks cannot be copied.
    with _locks_change:
        return _locks.setdefault(module, threading.RLock())


@contextmanager
def switched(module: Any, name: str | None) -> Iterator[None]:
    """Within, calls of a PeftModel use the adapter that PEFT calls `name`, or none where it is None.

    Other threads wait until this one is through, and find the module as it was. May be nested. Unlike PEFT's own
    `set_adapter` and `disable_adapter`, it leaves alone which weights train. Raises IncompatibleError where gradients
    could not be had.
    """
    with _lock_of(module):
        before = None if module._adapters_disabled else module.active_adapter
        if before == name:
            yield
            return
        if module.training and torch.is_grad_enabled() and _recomputes(module):
            raise IncompatibleError(
                "With train.gradient_checkpointing, other adapters than the one that trains are read under "
                "torch.no_grad() alone: the backward pass would recompute activations without them."
            )
        _switch(module, name)
        try:
            yield
        finally:
            _switch(module, before)


def _recomputes(module: nn.Module) -> bool:
    """Whether transformers was asked to recompute activations in the backward pass."""
    return any(getattr(part, "gradient_checkpointing", False) for part in module.modules())


def _switch(module: Any, name: str | None) -> None:
    module._adapters_disabled = name is None
    if name is not None:
        module.active_adapter = name
    if module._is_prompt_learning:
        if name is None:
            module.forward = module.base_model.forward
        else:
            vars(module).pop("forward", None)
        return
    if module.active_peft_config.is_adaption_prompt:  # swaps whole attention modules; no second one sits beside it
        module.base_model.disable_adapter_layers() if name is None else module.base_model.enable_adapter_layers()
        return
    if name is not None:
        module.base_model.active_adapter = name
    for part in module.modules():
        if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper):
            there = part._get_available_adapters()
            part._disable_adapters = name is None or bool(there and name not in there)
            if name is not None:
                part._active_adapter = [name]


def prepare(wrapped: nn.Module) -> None:
    """Let the layers of a PeftModel compute as lorarec wants them to, in place."""
    for layer in wrapped.modules():
        if isinstance(layer, Linear) and layer.weight.dtype in (torch.bfloat16, torch.float16):
            layer.forward = MethodType(_half_precision_forward, layer)
        elif isinstance(layer, PrefixEncoder):
            layer.forward = MethodType(_shared_prefix, layer)


def _half_precision_forward(layer: Any, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """W x + b + scaling * B A x, [..., out] from [..., in], with A and B cast down to the type of W.

    PEFT casts every input to the float32 of A and B, multiplies there and casts the sum back: an eighth of a training
    step of a small encoder, for digits that the sum loses again. A and B themselves stay float32 and learn in it, as
    under autocast. For one plain adapter; whatever else PEFT may be asked for (several adapters, merged or disabled
    ones, DoRA and other variants, biases, keywords such as `adapter_names`) is left to PEFT.
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


def _shared_prefix(encoder: Any, tokens: Tensor) -> Tensor:
    """[B, T, 2 * layers * key width] from [B, T] token numbers, the same in every row: made once, in float32.

    PEFT makes them once a row. Once is cheaper with a projection, and gives the very numbers that are saved: a matrix
    product over more rows may round differently, and autocast would round it to bfloat16.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        prefix: Tensor = encoder.embedding(tokens[0])
        if encoder.prefix_projection:
            prefix = encoder.transform(prefix)
    return prefix.expand(len(tokens), -1, -1)

"""Private parts of PEFT: everything that relies on or patches PEFT beyond its documented functions is in this file.

Look here first when PEFT is upgraded: raise `TESTED` and the upper bound in pyproject.toml together. The state of
AdaLoRA's allocator, which is not in PEFT's `state_dict`, is saved and restored by the adapter `adalora`.
"""

from __future__ import annotations

import copy
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
    """PEFT's name of the adapter that a user calls `name`, which may be any text.

    PEFT searches for adapter names in parameter names: one such as "lora" or "a.b" would match other weights. The
    adapter of a run has PEFT's default name, which other tools expect.
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
    # Not an attribute of the module: a copy of it needs another lock, and locks cannot be copied.
    with _locks_change:
        return _locks.setdefault(module, threading.RLock())


@contextmanager
def switched(module: Any, name: str | None) -> Iterator[None]:
    """Inside the context, calls of a PeftModel use the adapter that PEFT calls `name`, or none if it is None.

    Other threads wait until this one has left the context, which restores the module. May be nested. Unlike PEFT's
    `set_adapter` and `disable_adapter`, it does not change which weights train. Raises IncompatibleError if gradients
    would be wrong.
    """
    with _lock_of(module):
        before = None if module._adapters_disabled else module.active_adapter
        if before == name:
            yield
            return
        if module.training and torch.is_grad_enabled() and _recomputes(module):
            raise IncompatibleError(
                "With train.gradient_checkpointing, adapters other than the one that trains can be used only under "
                "torch.no_grad(): the backward pass would recompute activations without them."
            )
        _switch(module, name)
        try:
            yield
        finally:
            _switch(module, before)


def _recomputes(module: nn.Module) -> bool:
    """Whether transformers recomputes activations in the backward pass."""
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
    if module.active_peft_config.is_adaption_prompt:  # swaps whole attention modules, so there is only one adapter
        module.base_model.disable_adapter_layers() if name is None else module.base_model.enable_adapter_layers()
        return
    if name is not None:
        module.base_model.active_adapter = name
    for part in module.modules():
        if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper):
            available = part._get_available_adapters()
            part._disable_adapters = name is None or bool(available and name not in available)
            if name is not None:
                part._active_adapter = [name]


def without_adapters(module: Any) -> Any:
    """The module as it was before adapters were attached; it shares its layers with `module`, which is unchanged."""
    if isinstance(module, BaseTunerLayer):
        return without_adapters(module.get_base_layer())
    bare = copy.copy(module)
    bare._modules = {name: None if part is None else without_adapters(part) for name, part in module._modules.items()}
    return bare


def prepare(wrapped: nn.Module) -> None:
    """Patch the forward methods of a PeftModel's layers, in place: half-precision LoRA, and shared prefixes."""
    for layer in wrapped.modules():
        if isinstance(layer, Linear) and layer.weight.dtype in (torch.bfloat16, torch.float16):
            layer.forward = MethodType(_half_precision_forward, layer)
        elif isinstance(layer, PrefixEncoder):
            layer.forward = MethodType(_shared_prefix, layer)


def _half_precision_forward(layer: Any, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """W x + b + scaling * B A x, [..., out] from [..., in], with A and B cast down to the type of W.

    PEFT casts every input to the float32 of A and B, multiplies there and casts the sum back: an eighth of the time of
    a training step of a small encoder, for digits that are rounded away in the sum. A and B themselves stay float32, as
    under autocast. Only for one plain adapter; all other cases (several adapters, merged or disabled ones, DoRA and
    other variants, biases, keywords such as `adapter_names`) are left to PEFT.
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
    """The name of the only active adapter of a LoRA layer, if it is a plain one; else None."""
    if layer.merged or layer.disable_adapters:
        return None
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or active[0] in layer.lora_variant or layer.lora_bias.get(active[0]):
        return None
    name: str = active[0]
    return name


def _shared_prefix(encoder: Any, tokens: Tensor) -> Tensor:
    """[B, T, 2 * layers * key width] from [B, T] token numbers, the same in every row: computed once, in float32.

    PEFT computes them for every row. Once is cheaper with a projection, and gives exactly the numbers that are saved:
    a matrix product over more rows may round differently, and autocast would round it to bfloat16.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        prefix: Tensor = encoder.embedding(tokens[0])
        if encoder.prefix_projection:
            prefix = encoder.transform(prefix)
    return prefix.expand(len(tokens), -1, -1)

"""Targets: which linear layers a low-rank adapter goes on; a name that matches nothing is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from torch import nn
from transformers.pytorch_utils import Conv1D

from lorarec.contracts import Architecture, Backbone, IncompatibleError, did_you_mean
from lorarec_adapters.blocks import chosen_blocks

Targets = Literal["all-linear"] | list[str] | None
"""Names of linear layers, or the ends of their dotted names; every linear layer; or the backbone's own
default."""


def check_targets(adapter: str, architecture: Architecture, targets: Targets) -> None:
    """Raise IncompatibleError where there is no default to go by, before any weight is loaded."""
    if targets is None and not architecture.adaptable:
        raise IncompatibleError(
            f"Adapter '{adapter}': backbone '{architecture.backbone}' ({architecture.model_type}) has no "
            "default targets. Name some (adapter.targets=[query,value]), or take "
            "adapter.targets=all-linear."
        )


def find_targets(adapter: str, backbone: Backbone, targets: Targets, layers: Sequence[int] | None) -> list[str]:
    """Full names of the linear layers meant, in the module's order.

    PEFT is satisfied when any one target matches; here each must. Raises IncompatibleError naming the one
    that does not, the nearest name, and the names there are.
    """
    architecture = backbone.architecture()
    check_targets(adapter, architecture, targets)
    names = linear_layers(backbone.module)
    where = f"backbone '{architecture.backbone}' ({architecture.model_type})"
    if layers is not None:
        prefixes = tuple(chosen_blocks(adapter, architecture, layers))
        names = [name for name in names if name.startswith(prefixes)]
        where = f"layers {list(layers)} of {where}"
    if targets == "all-linear":
        return names
    wanted = architecture.adaptable if targets is None else targets
    found = {name for target in wanted for name in matches(adapter, "target", target, names, where)}
    return [name for name in names if name in found]


def expand_pattern(adapter: str, key: str, pattern: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """A number for each full name that a key of `pattern` ends; keys that match nothing or overlap are
    refused."""
    expanded: dict[str, int] = {}
    owner: dict[str, str] = {}
    for ending, number in pattern.items():
        for name in matches(adapter, f"{key} key", ending, names, "the targeted layers"):
            if name in owner:
                raise IncompatibleError(
                    f"Adapter '{adapter}': {key} keys '{owner[name]}' and '{ending}' both match '{name}'. "
                    "Make them longer until they do not overlap."
                )
            owner[name], expanded[name] = ending, number
    return expanded


def linear_layers(module: nn.Module) -> list[str]:
    """Full names of the linear layers (transformers' Conv1D included), in the module's order."""
    return [name for name, part in module.named_modules() if isinstance(part, nn.Linear | Conv1D)]


def matches(adapter: str, kind: str, ending: str, names: Sequence[str], where: str) -> list[str]:
    """The names that are `ending` or end with it after a dot. Raises IncompatibleError if there are none."""
    found = [name for name in names if f".{name}".endswith(f".{ending}")]
    if not found:
        known = _last_parts(names)
        raise IncompatibleError(
            f"Adapter '{adapter}': {kind} '{ending}' matches no linear layer of "
            f"{where}.{did_you_mean(ending, known)} There are: {', '.join(known)}."
        )
    return found


def _last_parts(names: Iterable[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})

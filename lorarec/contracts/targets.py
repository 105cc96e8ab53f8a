"""Targets: which layers of a backbone an adapter is applied to; names that match nothing are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from torch import nn

from lorarec.config.strict import did_you_mean
from lorarec.contracts.backbone import Architecture, Backbone
from lorarec.errors import IncompatibleError

Targets = Literal["all-linear"] | list[str] | None
"""Names of layers, or the ends of their dotted names; every linear layer; or the backbone's default."""


def check_targets(adapter: str, architecture: Architecture, targets: Targets) -> None:
    """Raise IncompatibleError if there are no default targets, before any weight is loaded."""
    if targets is None and not architecture.adaptable:
        raise IncompatibleError(
            f"Adapter '{adapter}': backbone '{architecture.backbone}' ({architecture.model_type}) has no "
            "default targets. Name some (adapter.targets=[query,value]), or set "
            "adapter.targets=all-linear."
        )


def find_targets(
    adapter: str,
    backbone: Backbone,
    targets: Targets = None,
    layers: Sequence[int] | None = None,
    *,
    setting: str = "target",
    kinds: tuple[type[nn.Module], ...] = (),
) -> list[str]:
    """Full names of the targeted layers, in the module's order.

    PEFT accepts targets if one of them matches; here each must. `layers`: numbers of the blocks to search (0 is the
    lowest, -1 the last), all by default. `kinds`: types of layers in addition to linear ones. Raises IncompatibleError
    with the `setting` and the name in it that matches nothing, the nearest name, and all names.
    """
    architecture = backbone.architecture()
    check_targets(adapter, architecture, targets)
    names = adaptable_layers(backbone.module, () if targets == "all-linear" else kinds)
    where = f"backbone '{architecture.backbone}' ({architecture.model_type})"
    if layers is not None:
        prefixes = tuple(chosen_blocks(adapter, architecture, layers))
        names = [name for name in names if name.startswith(prefixes)]
        where = f"layers {list(layers)} of {where}"
    if targets == "all-linear":
        return names
    # The backbone's own default: a pretrained one finds its attention projections by the family of its architecture.
    wanted = architecture.adaptable if targets is None else targets
    where = f"{'layer' if kinds else 'linear layer'} of {where}"
    matched = {name for target in wanted for name in _matches(adapter, setting, target, names, where)}
    return [name for name in names if name in matched]


def expand_pattern(adapter: str, key: str, pattern: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """A number for each full name that a key of `pattern` ends; keys that match nothing or overlap are refused."""
    expanded: dict[str, int] = {}
    owner: dict[str, str] = {}
    for ending, number in pattern.items():
        for name in _matches(adapter, f"{key} key", ending, names, "layer that is targeted"):
            if name in owner:
                raise IncompatibleError(
                    f"Adapter '{adapter}': {key} keys '{owner[name]}' and '{ending}' both match '{name}'. "
                    "Make them longer until they do not overlap."
                )
            owner[name], expanded[name] = ending, number
    return expanded


def chosen_blocks(adapter: str, architecture: Architecture, layers: Sequence[int]) -> list[str]:
    """Name prefixes ("encoder.layer.3.") of the blocks that `layers` numbers: 0 is the lowest, -1 the last.

    Raises IncompatibleError for a number that no block has, or where the module has no list of blocks.
    """
    total = architecture.layers
    for layer in layers:
        if not -total <= layer < total:
            raise IncompatibleError(
                f"Adapter '{adapter}': layers={list(layers)}, but backbone '{architecture.backbone}' "
                f"({architecture.model_type}) has {total} layers: 0 to {total - 1}, or -1 for the last."
            )
    if not architecture.blocks:
        raise IncompatibleError(
            f"Adapter '{adapter}': the layers of backbone '{architecture.backbone}' "
            f"({architecture.model_type}) cannot be distinguished. Leave `layers` out."
        )
    return [f"{architecture.blocks}.{index}." for index in sorted({layer % total for layer in layers})]


def adaptable_layers(module: nn.Module, kinds: tuple[type[nn.Module], ...] = ()) -> list[str]:
    """Full names of the linear layers (transformers' Conv1D included) and those of other `kinds`, in module order."""
    from transformers.pytorch_utils import Conv1D

    return [name for name, part in module.named_modules() if isinstance(part, (nn.Linear, Conv1D, *kinds))]


def _matches(adapter: str, setting: str, ending: str, names: Sequence[str], where: str) -> list[str]:
    """The names that are `ending` or end with it after a dot. Raises IncompatibleError if there are none."""
    matched = [name for name in names if f".{name}".endswith(f".{ending}")]
    if not matched:
        known = _last_parts(names)
        raise IncompatibleError(
            f"Adapter '{adapter}': {setting} '{ending}' matches no {where}.{did_you_mean(ending, known)} "
            f"There are: {', '.join(known)}."
        )
    return matched


def _last_parts(names: Iterable[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})

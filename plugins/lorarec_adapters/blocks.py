"""Blocks: where an encoder's numbered layers lie, so that an adapter can be put on some of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lorarec.contracts import Architecture, IncompatibleError


def chosen_blocks(adapter: str, module: nn.Module, architecture: Architecture, layers: Sequence[int]) -> list[str]:
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
    path = _block_list(module, total)
    if path is None:
        raise IncompatibleError(
            f"Adapter '{adapter}': the layers of backbone '{architecture.backbone}' "
            f"({architecture.model_type}) cannot be told apart. Leave `layers` out."
        )
    return [f"{path}.{index}." for index in sorted({layer % total for layer in layers})]


def _block_list(module: nn.Module, total: int) -> str | None:
    for name, part in module.named_modules():
        if isinstance(part, nn.ModuleList) and len(part) == total:
            return str(name)
    return None

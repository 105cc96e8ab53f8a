"""Blocks: where an encoder's numbered layers lie, so that an adapter can be put on some of them."""

from __future__ import annotations

from collections.abc import Sequence

from lorarec.contracts import Architecture, IncompatibleError


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
            f"({architecture.model_type}) cannot be told apart. Leave `layers` out."
        )
    return [f"{architecture.blocks}.{index}." for index in sorted({layer % total for layer in layers})]

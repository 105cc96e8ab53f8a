"""Refuse impossible combinations before any weight is loaded."""

from __future__ import annotations

from lorarec.contracts import Adapter, Architecture, Backbone
from lorarec.errors import IncompatibleError


def check_compatible(backbone: Backbone, adapter: Adapter, gradient_checkpointing: bool) -> Architecture:
    """The backbone's architecture, once the adapter has agreed to it. Raises IncompatibleError otherwise."""
    architecture = backbone.architecture()
    adapter.check(architecture)
    if gradient_checkpointing and not adapter.supports_gradient_checkpointing:
        raise IncompatibleError(
            f"Adapter '{adapter.name}' does not go with gradient checkpointing. Set train.gradient_checkpointing=false."
        )
    return architecture


def usable_length(architecture: Architecture, adapter: Adapter) -> int:
    """Positions left for a view once the adapter has taken its own. Raises IncompatibleError if too few are left."""
    left = architecture.max_length - adapter.reserved_positions()
    if left < 8:
        raise IncompatibleError(
            f"Adapter '{adapter.name}' takes {adapter.reserved_positions()} of the {architecture.max_length} positions "
            f"of backbone '{architecture.backbone}': too few are left for a text. Use fewer virtual tokens."
        )
    return left

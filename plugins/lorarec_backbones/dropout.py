"""Dropout: switched off throughout an encoder."""

from __future__ import annotations

from torch import nn


def without_dropout(module: nn.Module) -> None:
    """Set every dropout of the module to 0, in place; its configuration, which is saved with it, keeps its own."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for name, value in vars(part).items():
            # transformers' attentions pass such a number to a function instead of holding a Dropout.
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)

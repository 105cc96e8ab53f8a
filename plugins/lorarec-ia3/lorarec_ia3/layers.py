"""Names: what architectures call the layers that IA3 goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

KEY_AND_VALUE = frozenset(
    {*("key", "value"), *("k_lin", "v_lin"), *("key_proj", "value_proj"), *("k_proj", "v_proj"), *("k", "v")}
)
"""Last names of key and value projections: BERT, DistilBERT, DeBERTa, Llama and their kin, MPNet."""
FUSED = frozenset({"c_attn", "Wqkv"})
"""Projections to query, key and value, stacked in this order: GPT-2, ModernBERT."""
ATTENTION = KEY_AND_VALUE | FUSED


def linear_layers(module: nn.Module) -> list[str]:
    """Full names of the linear layers, in the module's order."""
    return [name for name, part in module.named_modules() if isinstance(part, nn.Linear | Conv1D)]


def ending_with(endings: Iterable[str], names: Sequence[str]) -> list[str]:
    """The names that are one of `endings`, or end with it after a dot."""
    dotted = tuple(f".{ending}" for ending in endings)
    return [name for name in names if f".{name}".endswith(dotted)]

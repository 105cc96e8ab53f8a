"""ArchitectureInfo: properties of the module that a transformers configuration describes, without any weight."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

from lorarec_backbones.transformers_internals import attention_of

QUERY_AND_VALUE = (
    ("query", "value"),
    ("q_lin", "v_lin"),
    ("query_proj", "value_proj"),
    ("q_proj", "v_proj"),
    ("q", "v"),
    ("Wqkv",),
    ("c_attn",),
    ("query_key_value",),
    ("qkv_proj",),
    ("qkv",),
)
"""Names of the query and value projections of attention, by model family; LoRA's default targets
(Hu et al., ICLR 2022, section 4.2)."""

TRAINS_WITH_PAST = frozenset(
    {
        *("bert", "roberta", "xlm-roberta", "electra"),
        *("gpt2", "opt", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma3_text"),
    }
)
"""Architectures that attend to given key-values and pass gradients to them: verified to train. Others take the
argument and ignore it (ModernBERT) or fail on the mask's shape (DistilBERT, MPNet, DeBERTa-v2, ALBERT)."""


@dataclass(frozen=True)
class ArchitectureInfo:
    """Properties of one architecture."""

    model_class: Any
    """The transformers class that holds the encoder."""
    config: Any
    """The configuration of the text part."""
    causal: bool
    """Whether a position sees only those before it."""
    adaptable: tuple[str, ...]
    feedforward: tuple[str, ...]
    max_length: int | None
    """Positions a text can take; None where the architecture sets no limit."""
    attention: str
    """How attention is computed: the requested implementation, or transformers' own choice."""
    blocks: str
    """Dotted name of the list of blocks; empty where there is none with one entry per block."""

    @property
    def takes_past(self) -> bool:
        """Whether prefix tuning trains on it."""
        return self.config.model_type in TRAINS_WITH_PAST


def architecture_info(config: Any, attention: str | None) -> ArchitectureInfo:
    """Inspect the module that `config` describes, built without memory for its weights.

    Raises what transformers raises for an unknown architecture, or for an attention that it lacks.
    """
    with torch.device("meta"):
        module = transformers.AutoModel.from_config(config, attn_implementation=attention, trust_remote_code=False)
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear | Conv1D)]
    return ArchitectureInfo(
        model_class=type(module),
        config=config,
        causal=any(getattr(part, "is_causal", False) is True for part in module.modules()),
        adaptable=_attention_names(linear),
        feedforward=_feedforward_names(module, linear, config.hidden_size),
        max_length=_max_length(module, config),
        attention=attention_of(module),
        blocks=_blocks(module, config.num_hidden_layers),
    )


def _blocks(module: nn.Module, layers: int) -> str:
    lists = (name for name, part in module.named_modules() if isinstance(part, nn.ModuleList) and len(part) == layers)
    return next(lists, "")


def _attention_names(linear: list[str]) -> tuple[str, ...]:
    leaves = {name.rpartition(".")[2] for name in linear}
    for names in QUERY_AND_VALUE:
        if leaves.issuperset(names):
            return names
    return ()


def _feedforward_names(module: nn.Module, linear: list[str], hidden_size: int) -> tuple[str, ...]:
    """Names of each block's second feed-forward matrix, which no other layer's name ends with."""
    names: dict[str, None] = {}
    for name in linear:
        match = re.fullmatch(r".*\.?\b(\d+)\.(.+)", name)
        if match is None or "att" in name.lower() or _outputs(module.get_submodule(name)) != hidden_size:
            continue
        block, inner = match.groups()
        # BERT has "attention.output.dense" and "output.dense": only the block's number distinguishes them.
        shared = any(other.endswith(f".{inner}") and "att" in other.lower() for other in linear)
        names[f"{block}.{inner}" if shared else inner] = None
    return tuple(names)


def _outputs(layer: Any) -> int:
    return int(layer.nf if isinstance(layer, Conv1D) else layer.out_features)


def _max_length(module: Any, config: Any) -> int | None:
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    for name, part in module.named_modules():
        # RoBERTa and its relatives count positions from padding_idx + 1.
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding) and part.padding_idx is not None:
            embeddings = module.get_submodule(name.rpartition(".")[0])
            # As configured: torch counts a padding of -1 from the end of the embedding.
            return int(limit) - getattr(embeddings, "padding_idx", part.padding_idx) - 1
    return int(limit)

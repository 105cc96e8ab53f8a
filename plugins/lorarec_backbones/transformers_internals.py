"""All code that relies on internals of transformers' modules, beyond their documented calls.

Which attention they chose, switching off dropout that is stored as numbers, and starting an encoder above blocks that
never change. Check this file first when transformers is upgraded: raise `TESTED` and the upper bound in pyproject.toml
together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lorarec.contracts import IncompatibleError

TESTED = "5.23"
"""The minor version of transformers that this file was tested with."""


def attention_of(module: nn.Module) -> str:
    """How attention is computed ("eager", "sdpa"), as transformers chose it; empty where there is no choice."""
    return attention_in(module.config)


def attention_in(config: Any) -> str:
    """As `attention_of`, from a configuration."""
    chosen: str | None = config._attn_implementation
    return chosen or ""


def without_dropout(module: nn.Module) -> None:
    """Set every dropout of the module to 0, in place; its configuration, which is saved with it, is unchanged."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for name, value in vars(part).items():
            # transformers' attentions pass such a number to a function instead of holding a Dropout.
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def block_list(module: nn.Module, path: str) -> nn.ModuleList:
    """The blocks that `path` names in the encoder, also where an adapter has wrapped it."""
    matches = [part for name, part in module.named_modules() if f".{name}".endswith(f".{path}")]
    assert isinstance(matches[0], nn.ModuleList), path
    return matches[0]


def count_frozen(module: nn.Module, blocks: nn.ModuleList) -> int:
    """Number of lowest blocks with no trainable weight in or below them; 0 where nothing trains."""
    block_of: dict[int, int] = {}
    for index, block in enumerate(blocks):
        for weight in block.parameters():
            block_of.setdefault(id(weight), index)  # a shared weight counts for the lowest of its blocks
    # A weight outside the blocks may come before them all: embeddings, the prompts of prefix tuning.
    return min((block_of.get(id(weight), 0) for weight in module.parameters() if weight.requires_grad), default=0)


@contextmanager
def recorded(block: nn.Module) -> Iterator[list[Tensor]]:
    """Within, every output of `block` is appended to the list. Raises IncompatibleError if it is not one tensor."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise IncompatibleError(f"{type(block).__name__} returns {type(output).__name__}, not only hidden states.")
        outputs.append(output)

    handle = block.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def standing_in(blocks: Iterable[nn.Module], states: Tensor) -> Iterator[None]:
    """Within, each of `blocks` returns `states` and computes nothing.

    The encoder's own forward still makes masks and position codes for the blocks above, whatever its family.
    """

    def return_states(*_: Any, **__: Any) -> Tensor:
        return states

    for block in blocks:
        block.forward = return_states  # on the instance: removed below
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def probe_features(vocabulary: int, device: torch.device | str) -> dict[str, Tensor]:
    """Two short texts, one of them padded, to test whether starting an encoder above its blocks changes anything."""
    ids = torch.arange(1, 9, device=device).reshape(2, 4) % vocabulary
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], device=device)
    return {"input_ids": ids, "attention_mask": mask}

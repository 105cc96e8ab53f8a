"""What is built on the inside of transformers' modules, beyond their documented calls: all of it is in this file.

Which attention they chose, switching off dropout, which they keep as numbers, and starting an encoder above blocks that
never change. Look here first when transformers is upgraded: raise `TESTED` and the upper bound in pyproject.toml
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
    config: Any = module.config
    chosen: str | None = config._attn_implementation
    return chosen or ""


def without_dropout(module: nn.Module) -> None:
    """Set every dropout of the module to 0, in place; its configuration, which is saved with it, keeps its own."""
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
    """How many of the lowest blocks no trainable weight lies in or below; 0 where nothing trains."""
    block_of: dict[int, int] = {}
    for index, block in enumerate(blocks):
        for weight in block.parameters():
            block_of.setdefault(id(weight), index)  # one that blocks share lies in the lowest of them
    # What lies in no block may come before them all: embeddings, the prompts of prefix tuning.
    return min((block_of.get(id(weight), 0) for weight in module.parameters() if weight.requires_grad), default=0)


@contextmanager
def recorded(block: nn.Module) -> Iterator[list[Tensor]]:
    """Within, every output of `block` goes into the list. Raises IncompatibleError where it is no tensor alone."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise IncompatibleError(f"{type(block).__name__} returns {type(output).__name__}, not hidden states alone.")
        outputs.append(output)

    handle = block.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def standing_in(blocks: Iterable[nn.Module], states: Tensor) -> Iterator[None]:
    """Within, each of `blocks` hands on `states` and computes nothing.

    The encoder's own forward still makes masks and position codes for the blocks above, whatever its family.
    """

    def hand_on(*_: Any, **__: Any) -> Tensor:
        return states

    for block in blocks:
        block.forward = hand_on  # on the instance: taken back below
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def probe_features(vocabulary: int, device: torch.device | str) -> dict[str, Tensor]:
    """Two short texts, one of them padded, to see on an encoder whether starting above its blocks changes nothing."""
    ids = torch.arange(1, 9, device=device).reshape(2, 4) % vocabulary
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], device=device)
    return {"input_ids": ids, "attention_mask": mask}

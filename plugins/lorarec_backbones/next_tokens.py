"""Next tokens: logits of a few named tokens from a decoder's last states, without those of the whole vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from lorarec_backbones.transformers_internals import probe_features


class OutputEmbeddings(nn.Module):
    """The rows by which a decoder's last state becomes logits, where they are others than its input embeddings.

    They lie on the decoder, as buffers: they move, are hashed and saved with it, and no adapter targets or trains them.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.register_buffer("weight", output.weight.detach())
        self.register_buffer("bias", None if output.bias is None else output.bias.detach())


def token_logits(module: Any, last_BD: Tensor, ids: list[int]) -> Tensor:
    """[B, K] float32 logits of K tokens from the last states [B, D]; only their K rows are read."""
    table = getattr(module, "output_embeddings", None)
    if table is None:  # tied
        table = module.get_input_embeddings()
    rows = torch.tensor(ids, device=last_BD.device)
    logits_BK: Tensor = last_BD.float() @ table.weight[rows].float().T
    bias = getattr(table, "bias", None)
    return logits_BK if bias is None else logits_BK + bias[rows].float()


@torch.no_grad()
def makes_plain_logits(whole: Any) -> bool:
    """Whether a causal language model's logits are its last states times its output embeddings: tried on two texts."""
    output, features = whole.get_output_embeddings(), probe_features(whole.config.get_text_config().vocab_size, "cpu")
    whole.eval()
    states = whole.base_model(**features).last_hidden_state
    plain, own = output(states).float(), whole(**features).logits.float()
    return plain.shape == own.shape and bool((plain - own).abs().max() <= 1e-2 * own.abs().max())


def save_language_model(module: Any, folder: Path) -> None:
    """Write a decoder and its own output embeddings as transformers' `AutoModelForCausalLM` reads them."""
    with torch.device("meta"):
        whole = transformers.AutoModelForCausalLM.from_config(module.config)
    (output,) = (name for name, part in whole.named_modules() if part is whole.get_output_embeddings())
    state = dict(module.state_dict())
    own = {f"{output}.{name}": state.pop(f"output_embeddings.{name}") for name in module.output_embeddings.state_dict()}
    state = {f"{whole.base_model_prefix}.{name}": weight for name, weight in state.items()} | own
    whole.save_pretrained(folder, state_dict=state)

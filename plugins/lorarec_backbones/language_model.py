"""A decoder as a language model: logits of a few named tokens from its last states, not of the whole vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from lorarec.contracts import IncompatibleError, LorarecError
from lorarec_backbones.transformers_internals import probe_features


class OutputEmbeddings(nn.Module):
    """The output embeddings of a decoder that are not tied to its input embeddings.

    They are buffers of the decoder: they move, are hashed and saved with it, and no adapter targets or trains them.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.register_buffer("weight", output.weight.detach())
        self.register_buffer("bias", None if output.bias is None else output.bias.detach())


def decoder_of(whole: Any, model_class: Any, checkpoint: str) -> Any:
    """The decoder inside a causal language model read from `checkpoint`, with its output embeddings if not tied.

    Raises LorarecError if it is not of `model_class`, or if its logits are not its last states times these embeddings.
    """
    module = whole.base_model
    if not isinstance(module, model_class) or not _makes_plain_logits(whole):
        raise LorarecError(
            f"backbone.language_model=true: {type(whole).__name__} in '{checkpoint}' does more than multiply its "
            "last state with output embeddings, which is not supported. Use another decoder, or "
            "leave language_model out."
        )
    output = whole.get_output_embeddings()
    if output.weight is not module.get_input_embeddings().weight:
        module.output_embeddings = OutputEmbeddings(output)
    return module


def token_id(tokenizer: Any, token: str, size: int, checkpoint: str) -> int:
    """The id of a named token of `checkpoint`, which embeds `size` tokens. Raises IncompatibleError for a name that is
    not one token, or not one that is embedded."""
    pieces = tokenizer(token, add_special_tokens=False)["input_ids"]
    if len(pieces) != 1:
        written = ", ".join(repr(tokenizer.decode([piece])) for piece in pieces)
        raise IncompatibleError(
            f"{token!r} is not one token of '{checkpoint}' but {len(pieces)}: {written}. Name a "
            "token of its vocabulary (many begin with a blank)."
        )
    if pieces[0] >= size:
        raise IncompatibleError(
            f"{token!r} has the id {pieces[0]} in the tokenizer of '{checkpoint}', but its weights have only {size} "
            f"tokens (ids 0 to {size - 1}). Name another token."
        )
    return int(pieces[0])


def token_logits(module: Any, last_BD: Tensor, ids: list[int]) -> Tensor:
    """[B, K] float32 logits of K tokens from the last states [B, D]; only their K rows are read."""
    table = getattr(module, "output_embeddings", None)
    if table is None:  # tied
        table = module.get_input_embeddings()
    rows = torch.tensor(ids, device=last_BD.device)
    logits_BK: Tensor = last_BD.float() @ table.weight[rows].float().T
    bias = getattr(table, "bias", None)
    return logits_BK if bias is None else logits_BK + bias[rows].float()


def save_language_model(module: Any, state: dict[str, Any], folder: Path) -> None:
    """Write a decoder's `state` and its untied output embeddings as transformers' `AutoModelForCausalLM` reads them."""
    with torch.device("meta"):
        whole = transformers.AutoModelForCausalLM.from_config(module.config, trust_remote_code=False)
    (output,) = (name for name, part in whole.named_modules() if part is whole.get_output_embeddings())
    own = {f"{output}.{name}": state.pop(f"output_embeddings.{name}") for name in module.output_embeddings.state_dict()}
    state = {f"{whole.base_model_prefix}.{name}": weight for name, weight in state.items()} | own
    whole.save_pretrained(folder, state_dict=state)


@torch.no_grad()
def _makes_plain_logits(whole: Any) -> bool:
    """Whether a causal language model's logits are its last states times its output embeddings, tested on two texts."""
    output, features = whole.get_output_embeddings(), probe_features(whole.config.get_text_config().vocab_size, "cpu")
    whole.eval()
    states = whole.base_model(**features).last_hidden_state
    plain, own = output(states).float(), whole(**features).logits.float()
    return plain.shape == own.shape and bool((plain - own).abs().max() <= 1e-2 * own.abs().max())

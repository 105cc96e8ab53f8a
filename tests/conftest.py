"""The environment of all tests: no network, a temporary cache, one thread, and tiny random checkpoints."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# Before anything imports Hugging Face libraries: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
_CACHE = tempfile.TemporaryDirectory(prefix="lorarec-tests-")
os.environ["HF_DATASETS_CACHE"] = _CACHE.name

import pytest  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from tokenizers import (  # noqa: E402
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in background jobs of a shell, whose children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.fsync = lambda handle: None  # what tests write need not survive a power cut: a flush costs 4 ms

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
KEY_VALUES: dict[str, Any] = {"num_key_value_heads": 1, "head_dim": 16}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
POSITIONS = {"max_position_embeddings": 128}
CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**SMALL, **POSITIONS),
    "roberta": lambda: transformers.RobertaConfig(**SMALL, **SPECIAL, max_position_embeddings=129),
    "distilbert": lambda: transformers.DistilBertConfig(
        dim=32, n_layers=2, n_heads=2, hidden_dim=64, pad_token_id=0, **POSITIONS
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SMALL,
        **SPECIAL,
        **POSITIONS,
        cls_token_id=2,
        sep_token_id=3,
        global_attn_every_n_layers=2,
        local_attention=16,
    ),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        **SMALL, **POSITIONS, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16
    ),
    "mpnet": lambda: transformers.MPNetConfig(**SMALL, **SPECIAL, max_position_embeddings=130),
    "electra": lambda: transformers.ElectraConfig(**SMALL, **POSITIONS, embedding_size=16),
    "gpt2": lambda: transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=2, eos_token_id=3
    ),
    "llama": lambda: transformers.LlamaConfig(**SMALL, **SPECIAL, **POSITIONS, **KEY_VALUES),
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, **SPECIAL, **POSITIONS, **KEY_VALUES),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **SMALL, **SPECIAL, **POSITIONS, **KEY_VALUES, query_pre_attn_scalar=16, sliding_window=64
    ),
}
DECODERS = ("gpt2", "llama", "qwen3", "gemma3")
CORPUS = [
    *("liked: disliked: seen: nothing yet", "The quick brown fox jumps over the lazy dog, 1995; again!"),
    *("red blue green small large old new shoe lamp chair table film story of the night and day",),
]
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@cache
def word_pieces() -> Any:
    """A WordPiece tokenizer that frames texts as BERT does. Its vocabulary has all letters and digits, and the words of
    CORPUS and their pairs of letters. It is not trained, because a trained one differs between processes."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = sorted({word.strip(",;:!") for text in CORPUS for word in text.lower().split()})
    pairs = sorted({f"##{word[start : start + 2]}" for word in words for start in range(1, len(word) - 1)})
    pieces = [*SPECIAL_TOKENS, *".,;:!?()'-", *letters, *(f"##{letter}" for letter in letters), *pairs, *words]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.decoder = decoders.WordPiece()
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


@cache
def byte_pairs() -> Any:
    """A byte-level BPE tokenizer without special tokens around a text, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[SEP]")


def write_tiny_checkpoint(model_type: str, folder: Path) -> None:
    """A random encoder of this type (hidden 32, 2 blocks, 128 positions) and a tokenizer, saved."""
    tokenizer = byte_pairs() if model_type in DECODERS else word_pieces()
    configuration = CONFIGURATIONS[model_type]()
    configuration.vocab_size = len(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.AutoModel.from_config(configuration)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many mutants the property tests (tests/properties) try."""
    parser.addoption("--mutants", type=int, default=300, help="mutants of each kind, in this process")
    parser.addoption("--processes", type=int, default=2, help="mutants of each kind, as processes of their own")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Call it with a model type (bert, roberta, distilbert, modernbert, deberta-v2, mpnet, electra, gpt2,
    llama, qwen3, gemma3) for the folder of a tiny random checkpoint, written once a session."""

    @cache
    def folder(model_type: str) -> Path:
        made = tmp_path_factory.mktemp(model_type)
        write_tiny_checkpoint(model_type, made)
        return made

    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage is measured for lorarec/ only: tests of the plugins run untraced, which saves a third of their time."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).parts[0].startswith("lorarec_"):
            item.add_marker(pytest.mark.no_cover)

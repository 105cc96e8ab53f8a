"""Small fixtures for tests of plugins: a random transformer of a real architecture, a catalog, views; `made`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from lorarec.config.strict import StrictConfig
from lorarec.contracts import Architecture, Backbone, Catalog, Encoded, Featurizer, Plugin, View
from lorarec.registry.registry import Registry, find_loss, loss_settings

P = TypeVar("P", bound=Plugin)
ITEMS = 12
MAX_LENGTH = 40
HIDDEN = 16
VOCABULARY = 64
_BERT_OUTPUTS = ("0.output.dense", "1.output.dense")


def made(plugin_class: type[P], **options: Any) -> P:
    """The plugin with these settings, as in a recipe: a head's loss is given by its name.

    Raises PluginError for a loss that is not installed or does not fit, pydantic's ValidationError for other settings.
    """
    losses = {}
    for setting, (takes, default) in loss_settings(plugin_class).items():
        loss, given = find_loss(options.get(setting, default), takes, _installed())
        losses[setting] = loss(loss.Config.model_validate(given))
    return plugin_class(plugin_class.Config.model_validate({**options, **losses}))


@cache
def _installed() -> Registry:
    return Registry.discover()


def tiny_catalog() -> Catalog:
    """Twelve items with titles and texts."""
    from datasets import Dataset

    titles = [f"{color} {thing}" for color in ("red", "green", "blue") for thing in ("cup", "lamp", "chair", "rug")]
    return Catalog(
        Dataset.from_dict(
            {"item": [f"i{n}" for n in range(ITEMS)], "title": titles, "text": [f"a {t}" for t in titles]}
        )
    )


def tiny_views() -> list[View]:
    """A user, an item, both together, and views of other lengths, so that batches need padding."""
    return [
        View(history=(3, 7, 1)),
        View(candidate=4),
        View(history=(2,), candidate=5),
        View(history=(6, 8), liked=(1, 0), candidate=9),
        View(history=(10, 11, 0, 5)),
        View(candidate=0),
    ]


class Family(NamedTuple):
    """What differs from one architecture to the next."""

    adaptable: tuple[str, ...]
    feedforward: tuple[str, ...]
    takes_past: bool
    blocks: str
    settings: dict[str, Any]


_ENCODER = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": MAX_LENGTH,
}
_DECODER = _ENCODER | {"num_key_value_heads": 1, "head_dim": 8}

FAMILIES: dict[str, Family] = {
    "bert": Family(("query", "value"), _BERT_OUTPUTS, True, "encoder.layer", _ENCODER),
    "roberta": Family(
        ("query", "value"),
        _BERT_OUTPUTS,
        True,
        "encoder.layer",
        _ENCODER | {"max_position_embeddings": MAX_LENGTH + 1, "pad_token_id": 0},
    ),
    "distilbert": Family(
        ("q_lin", "v_lin"),
        ("lin2",),
        False,
        "transformer.layer",
        {"dim": HIDDEN, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": MAX_LENGTH},
    ),
    "modernbert": Family(("Wqkv",), ("mlp.Wo",), False, "layers", _ENCODER),
    "deberta-v2": Family(
        ("query_proj", "value_proj"),
        _BERT_OUTPUTS,
        False,
        "encoder.layer",
        _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "mpnet": Family(
        ("q", "v"),
        _BERT_OUTPUTS,
        False,
        "encoder.layer",
        _ENCODER | {"max_position_embeddings": MAX_LENGTH + 2},
    ),
    "gpt2": Family(
        ("c_attn",),
        ("mlp.c_proj",),
        True,
        "h",
        {"n_embd": HIDDEN, "n_layer": 2, "n_head": 2, "n_positions": MAX_LENGTH},
    ),
    "llama": Family(("q_proj", "v_proj"), ("down_proj",), True, "layers", _DECODER),
    "qwen3": Family(("q_proj", "v_proj"), ("down_proj",), True, "layers", _DECODER),
    "gemma3_text": Family(("q_proj", "v_proj"), ("down_proj",), True, "layers", _DECODER),
}
"""The architectures at hand, by transformers' name."""


class TinyBackbone(Backbone):
    """Two blocks, hidden size 16, random weights; items are tokens. Nothing is read from a disk or the
    hub."""

    name = "tiny"
    summary = "a small random transformer, for tests"

    class Config(StrictConfig):
        """Which architecture."""

        model_type: str = "bert"
        """One of `FAMILIES`."""
        dtype: str = "float32"
        """Type of the weights, by torch's name."""
        attention: str | None = None
        """transformers' attention implementation; its own choice by default."""

    config: Config
    _left_out: ClassVar[tuple[str, ...]] = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")

    def architecture(self) -> Architecture:
        """Known from the table above."""
        family = FAMILIES[self.config.model_type]
        return Architecture(
            backbone=self.name,
            model_type=self.config.model_type,
            takes_past=family.takes_past,
            adaptable=family.adaptable,
            feedforward=family.feedforward,
            layers=2,
            max_length=MAX_LENGTH,
            hidden_size=HIDDEN,
            blocks=family.blocks,
        )

    def load(self, catalog: Catalog, seed: int) -> TinyBackbone:
        """Draw the weights from `seed`, leaving torch's global generator as it was."""
        settings = {"vocab_size": VOCABULARY, "pad_token_id": 0} | FAMILIES[self.config.model_type].settings
        config = AutoConfig.for_model(self.config.model_type, **settings, **dict.fromkeys(self._left_out))
        how = {"attn_implementation": self.config.attention, "dtype": getattr(torch, self.config.dtype)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                module = AutoModel.from_config(config, add_pooling_layer=False, trust_remote_code=False, **how)
            except TypeError:  # an architecture that has no pooler to leave out; nothing is drawn yet
                module = AutoModel.from_config(config, trust_remote_code=False, **how)
        self.module: nn.Module = module.eval()
        digest = hashlib.sha256()
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.float().numpy().tobytes())
        self._fingerprint = digest.hexdigest()
        return self

    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """Items as token ids, the candidate last."""
        return TinyFeaturizer(min(max_length, MAX_LENGTH))

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """The mean of the hidden states."""
        mask = features["attention_mask"]
        hidden = module(input_ids=features["input_ids"], attention_mask=mask).last_hidden_state
        hidden = hidden[:, -mask.shape[1] :]  # an adapter may put positions of its own in front
        weights = mask.unsqueeze(-1).to(torch.float32)
        return Encoded((hidden.float() * weights).sum(1) / weights.sum(1))

    def fingerprint(self) -> str:
        """SHA-256 of the weights as drawn: an adapter may have changed the module since."""
        return self._fingerprint

    def save(self, module: nn.Module, folder: Path) -> None:
        """As transformers does."""
        module.save_pretrained(folder)  # type: ignore[operator]


@dataclass(frozen=True)
class TinyFeaturizer:
    """A start token, then one token an item."""

    max_length: int

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """input_ids and attention_mask, [B, L] int64, padded on the right."""
        tokens = [torch.tensor(self._tokens(view)) for view in views]
        ids = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    def length(self, view: View) -> int:
        """Tokens of a view."""
        return len(self._tokens(view))

    def _tokens(self, view: View) -> list[int]:
        items = [*view.history, *([] if view.candidate is None else [view.candidate])]
        return [1, *(2 + item % (VOCABULARY - 2) for item in items)][: self.max_length]


def tiny_backbone(model_type: str = "bert", dtype: str = "float32", attention: str | None = None) -> TinyBackbone:
    """A TinyBackbone, not yet loaded."""
    return TinyBackbone(TinyBackbone.Config(model_type=model_type, dtype=dtype, attention=attention))

"""The backbone `text`: any transformers encoder or decoder, by hub id or local folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import (
    Architecture,
    Backbone,
    Catalog,
    Encoded,
    IncompatibleError,
    LorarecError,
    hookimpl,
)
from lorarec_backbones.architecture_info import ArchitectureInfo
from lorarec_backbones.checkpoint import Checkpoint, first_line, quietly, weights_fingerprint
from lorarec_backbones.item_tokens import item_tokens
from lorarec_backbones.language_model import save_language_model, token_id, token_logits
from lorarec_backbones.templates import Templates
from lorarec_backbones.text_featurizer import TextFeaturizer, listed_lead, make_words
from lorarec_backbones.transformers_internals import (
    block_list,
    count_frozen,
    probe_features,
    recorded,
    standing_in,
    without_dropout,
)
from lorarec_backbones.vocabulary import Vocabulary, padding

EAGER_UP_TO = 256
"""Tokens of a view up to which plain attention is the faster one on a CPU (tests/benchmarks/README.md)."""
Pooling = Literal["mean", "cls", "last"]


class TextOptions(Backbone.Config):
    """Settings of a backbone that reads words."""

    pooling: Pooling | None = None
    """How a text becomes one vector: mean over its positions, cls (the first) or last. By default mean for
    encoders, last for causal decoders."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Tokens a view may take; longer ones lose their oldest events."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the backbone's weights."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """transformers' attention implementation. By default the fastest one measured: transformers' own choice on a GPU,
    eager up to 256 tokens on a CPU. A run's environment.json records which one was used."""
    dropout: bool = False
    """Whether the checkpoint's own dropout is active during training. With few trainable weights it is not needed, it
    takes up to a third of a step on a CPU, and with it no hidden state can be reused from one step to the next."""
    normalize: bool = False
    """Scale every vector to length 1."""
    templates: Templates = Templates()
    """How views are written as words."""


class TextBackbone(Backbone):
    """Writes views as words, reads them with a pretrained transformer and pools its last states to one vector per view.

    A backbone that brings its own checkpoint, such as `minilm`, wraps this one.
    """

    name = "text"
    reads_text = True
    reads_feedback = True
    summary = "any Hugging Face encoder or decoder, by hub id or local folder"

    class Config(TextOptions):
        """Which checkpoint, and how it reads."""

        checkpoint: Annotated[str, Field(min_length=1)]
        """Hub id, such as sentence-transformers/all-MiniLM-L6-v2, or a folder written by save_pretrained."""
        revision: str | None = None
        """Commit, branch or tag on the hub. Give a commit: then a run folder needs no copy of the weights."""

        language_model: bool = False
        """Load a decoder's output embeddings too, for heads that need logits of its next tokens."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._checkpoint = Checkpoint(config.checkpoint, config.revision)
        self._token_ids: dict[str, int] = {}

    @cached_property
    def _architecture_info(self) -> ArchitectureInfo:
        """The architecture's properties, read from the configuration only."""
        return self._checkpoint.architecture_info(self._attention)

    @property
    def _attention(self) -> str | None:
        """The implementation to request; None leaves the choice to transformers."""
        chosen = self.config.attention
        if chosen is None and not torch.cuda.is_available() and self.config.max_length <= EAGER_UP_TO:
            return "eager"
        return chosen

    @cached_property
    def _tokenizer(self) -> Any:
        return self._checkpoint.tokenizer()

    @property
    def _pooling(self) -> Pooling:
        """The chosen pooling, or the architecture's default. Raises LorarecError for cls on a causal model."""
        chosen = self.config.pooling
        if chosen == "cls" and self._architecture_info.causal:
            raise LorarecError(
                f"backbone.pooling 'cls' on '{self._checkpoint.name_or_path}': in a causal model the first position "
                "has seen no other. Use last or mean."
            )
        return chosen or ("last" if self._architecture_info.causal else "mean")

    def architecture(self) -> Architecture:
        """Read from the configuration. Raises LorarecError if there is none, or an option does not fit."""
        info, config = self._architecture_info, self._architecture_info.config
        limit = info.max_length or self.config.max_length
        if self.config.max_length > limit:
            raise LorarecError(
                f"backbone.max_length {self.config.max_length} is more than the {limit} positions of "
                f"'{self._checkpoint.name_or_path}'; set at most {limit}."
            )
        _ = self._pooling
        if self.config.language_model and not info.causal:
            raise LorarecError(
                f"backbone.language_model=true: '{self._checkpoint.name_or_path}' ({config.model_type}) is an encoder, "
                "which has no next token. Use a decoder (such as Llama), or leave language_model out."
            )
        return Architecture(
            backbone=self.name,
            model_type=config.model_type,
            takes_past=info.takes_past,
            adaptable=info.adaptable,
            feedforward=info.feedforward,
            layers=config.num_hidden_layers,
            max_length=limit,
            hidden_size=config.hidden_size,
            blocks=info.blocks,
            attention=info.attention,
        )

    def user_columns(self) -> tuple[str, ...]:
        """Those that the templates name as {user.NAME}."""
        return self.config.templates.user_columns()

    def load(self, catalog: Catalog, seed: int) -> TextBackbone:
        """Load pretrained weights; nothing is random. Raises LorarecError if some are missing or damaged."""
        self.architecture()
        read = self._checkpoint.language_model if self.config.language_model else self._checkpoint.module
        self.module = read(self._architecture_info, getattr(torch, self.config.dtype), self._attention)
        self._check_reads()
        if not self.config.dropout:
            without_dropout(self.module)
        self._fingerprint = weights_fingerprint(self.module)
        return self

    def _check_reads(self) -> None:
        """Read two short texts. Raises LorarecError if the encoder cannot, as without a padding that it needs."""
        config = self._architecture_info.config
        try:
            with torch.no_grad():
                self.module(**probe_features(config.vocab_size, next(self.module.parameters()).device))
        except Exception as error:  # of whatever architecture this is
            raise LorarecError(
                f"backbone.checkpoint '{self._checkpoint.name_or_path}' ({config.model_type}) cannot read a text: "
                f"{type(error).__name__}: {first_line(error)}. Its config.json has pad_token_id "
                f"{config.pad_token_id} and vocab_size {config.vocab_size}; correct it, or use another checkpoint."
            ) from error

    def featurizer(self, catalog: Catalog, max_length: int) -> TextFeaturizer:
        """Views as token ids, at most `max_length` and at most the recipe's `backbone.max_length`. The catalog is
        tokenized, or read from the cache.

        Raises DataError if an item has no words, LorarecError if the tokenizer does not fit the encoder.
        """
        templates, tokenizer = self.config.templates, self._tokenizer
        words = make_words(templates, tokenizer, self._architecture_info.causal)
        items = item_tokens(catalog, templates.item, "", tokenizer)
        listed = item_tokens(catalog, templates.listed, listed_lead(templates), tokenizer)
        config, name = self._architecture_info.config, self._checkpoint.name_or_path
        Vocabulary(tokenizer, config.vocab_size, name).check(words, {"item": items, "listed": listed}, catalog)
        pad = padding(tokenizer, config)
        return TextFeaturizer(
            items=items,
            listed=listed,
            words=words,
            max_length=min(max_length, self.config.max_length),
            pad=pad.token,
            said=(pad.note,) if pad.note else (),
        )

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """One float32 vector per view."""
        pooled_BD = _pooled(module, features, self._pooling)
        if self.config.normalize:
            pooled_BD = nn.functional.normalize(pooled_BD, dim=-1)
        return Encoded(pooled_BD)

    def logits(self, module: nn.Module, features: dict[str, Tensor], tokens: Sequence[str]) -> Tensor:
        """[B, K] float32 logits of K named tokens after each view's text; only their rows are computed.

        Raises IncompatibleError without `language_model`, or for a name that is not one token.
        """
        if not self.config.language_model:
            raise IncompatibleError(
                f"Backbone '{self.name}' was loaded without the output embeddings that logits need. Set "
                "backbone.language_model=true, with a decoder as the checkpoint."
            )
        for token in tokens:
            if token not in self._token_ids:
                size = self._architecture_info.config.vocab_size
                self._token_ids[token] = token_id(self._tokenizer, token, size, self._checkpoint.name_or_path)
        ids = [self._token_ids[token] for token in tokens]
        return token_logits(module, _pooled(module, features, "last"), ids)

    def frozen_blocks(self, module: nn.Module) -> int:
        """Number of lowest blocks whose output never changes, if the encoder can start above them; else 0."""
        if self.config.dropout or not self._architecture_info.blocks:
            return 0
        blocks = count_frozen(module, block_list(module, self._architecture_info.blocks))
        return blocks if blocks and self._starts_above(module, blocks) else 0

    def lower_states(self, module: nn.Module, features: dict[str, Tensor], blocks: int) -> Tensor:
        """[B, L, D] after the lowest `blocks` blocks."""
        with recorded(block_list(module, self._architecture_info.blocks)[blocks - 1]) as outputs:
            module(**features)
        return outputs[0]

    def encode_above(self, module: nn.Module, features: dict[str, Tensor], blocks: int, states: Tensor) -> Encoded:
        """As `encode`, starting from the states of the lowest `blocks` blocks."""
        with standing_in(block_list(module, self._architecture_info.blocks)[:blocks], states):
            return self.encode(module, features)

    def _starts_above(self, module: nn.Module, blocks: int) -> bool:
        """Tested on two texts: some encoders pass more than hidden states from block to block."""
        features = probe_features(self._architecture_info.config.vocab_size, next(module.parameters()).device)
        training = module.training
        module.eval()
        try:
            with torch.no_grad():
                states = self.lower_states(module, features, blocks)
                above = self.encode_above(module, features, blocks, states)
                return torch.equal(above.pooled, self.encode(module, features).pooled)
        except IncompatibleError:
            return False
        finally:
            module.train(training)

    def fingerprint(self) -> str:
        """SHA-256 of the weights as loaded."""
        return self._fingerprint

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write encoder and tokenizer as transformers' `from_pretrained` reads them."""
        with quietly():
            if hasattr(module, "output_embeddings"):
                save_language_model(module, folder)
            else:
                module.save_pretrained(folder)  # type: ignore[operator]  # transformers' models only
        self._tokenizer.save_pretrained(folder)

    def load_from(self, folder: Path) -> None:
        """Read configuration, tokenizer and weights from what `save` wrote."""
        self._checkpoint = Checkpoint(str(folder))

    def is_reproducible(self) -> bool:
        """Only a hub id pinned to a commit gives the same weights everywhere."""
        return self._checkpoint.pinned


def _pooled(module: nn.Module, features: dict[str, Tensor], how: Pooling) -> Tensor:
    mask_BL = features["attention_mask"]
    hidden_BLD = module(input_ids=features["input_ids"], attention_mask=mask_BL).last_hidden_state
    # An adapter may insert its own positions in front of the text's.
    return pool(hidden_BLD[:, -mask_BL.shape[1] :], mask_BL.bool(), how)


def pool(hidden_BLD: Tensor, mask_BL: Tensor, how: Pooling) -> Tensor:
    """[B, D] float32 from hidden states [B, L, D] and a boolean mask [B, L] of right-padded texts.

    mean: over the text's positions (Reimers and Gurevych, EMNLP 2019). cls: the first position. last: the
    last position that is not padding, the only one of a causal model that attends to the whole text.
    """
    if how == "cls":
        return hidden_BLD[:, 0].float()
    lengths_B = mask_BL.sum(dim=1)
    if how == "last":
        rows = torch.arange(len(hidden_BLD), device=hidden_BLD.device)
        return hidden_BLD[rows, lengths_B - 1].float()
    weights_BL1 = mask_BL.unsqueeze(-1).to(torch.float32)
    return (hidden_BLD.float() * weights_BL1).sum(dim=1) / lengths_B.unsqueeze(-1)


@hookimpl
def lorarec_backbones() -> Iterable[type[Backbone]]:
    """The backbone of this module."""
    return [TextBackbone]

"""The backbone `text`: any transformers encoder or decoder, by hub id or local folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

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
    View,
    hookimpl,
)
from lorarec_backbones.architecture_info import ArchitectureInfo
from lorarec_backbones.checkpoint import Checkpoint, quietly, weights_fingerprint
from lorarec_backbones.item_tokens import item_tokens
from lorarec_backbones.language_model import save_language_model, token_id, token_logits
from lorarec_backbones.pooling import pool
from lorarec_backbones.reading import LONGEST, USUAL_LENGTH, Reading, TextOptions
from lorarec_backbones.saved_folder import check_saved_folder
from lorarec_backbones.sentence_folder import SentenceFolder, read_sentence_folder
from lorarec_backbones.sentence_layers import SentenceLayers
from lorarec_backbones.text_featurizer import TextFeaturizer, listed_lead, lowercasing, make_words
from lorarec_backbones.transformers_internals import (
    block_list,
    count_frozen,
    probe_features,
    recorded,
    standing_in,
    without_dropout,
)
from lorarec_backbones.vocabulary import Vocabulary, padding

UNLIMITED = 10**9
"""transformers gives a tokenizer without a limit a larger one."""
EAGER_UP_TO = 256
"""Tokens of a view up to which plain attention is the faster one on a CPU (tests/benchmarks/README.md)."""


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
        self._folder = Checkpoint(config.checkpoint, config.revision)
        self._token_ids: dict[str, int] = {}

    @cached_property
    def _own(self) -> SentenceFolder | None:
        """How the checkpoint itself reads texts; None if it has no modules.json."""
        return read_sentence_folder(self._folder.file, self._folder.name_or_path, self.config.pooling is not None)

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        """The transformer, which may be in a subfolder."""
        subfolder = self._own.transformer if self._own else ""
        return replace(self._folder, subfolder=subfolder) if subfolder else self._folder

    @cached_property
    def _architecture_info(self) -> ArchitectureInfo:
        """The architecture's properties, read from the configuration only."""
        return self._checkpoint.architecture_info(self._attention)

    @cached_property
    def _reading(self) -> Reading:
        """How texts are read."""
        info, own, name = self._architecture_info, self._own, self._checkpoint.name_or_path
        if own is not None and own.max_length is None and self._tokenizer.model_max_length < UNLIMITED:
            own = replace(own, max_length=self._tokenizer.model_max_length)
        length = min(self._max_length, info.max_length or self._max_length)
        return Reading(self.config, own, info.causal, info.config.hidden_size, length, name)

    @property
    def _attention(self) -> str | None:
        """The implementation to request; None leaves the choice to transformers."""
        chosen = self.config.attention
        if chosen is None and not torch.cuda.is_available() and self._max_length <= EAGER_UP_TO:
            return "eager"
        return chosen

    @cached_property
    def _max_length(self) -> int:
        """Tokens of a view, before the limits of the architecture."""
        if self.config.max_length is not None:
            return self.config.max_length
        if self._own is None:
            return USUAL_LENGTH
        return min(self._own.max_length or self._tokenizer.model_max_length, LONGEST)

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = self._checkpoint.tokenizer()
        return lowercasing(tokenizer) if self._own and self._own.lowercase else tokenizer

    def architecture(self) -> Architecture:
        """Read from the configuration. Raises LorarecError if there is none, or an option does not fit."""
        info, config = self._architecture_info, self._architecture_info.config
        limit = self._max_length if info.max_length is None else info.max_length
        if self.config.max_length is not None and self.config.max_length > limit:
            raise LorarecError(
                f"backbone.max_length {self.config.max_length} is more than the {limit} positions of "
                f"'{self._checkpoint.name_or_path}'; set at most {limit}."
            )
        if self.config.pooling == "cls" and info.causal:
            raise LorarecError(
                f"backbone.pooling 'cls' on '{self._checkpoint.name_or_path}': in a causal model the first position "
                "has seen no other. Use last or mean."
            )
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
            hidden_size=self._reading.width,
            blocks=info.blocks,
            attention=info.attention,
        )

    def user_columns(self) -> tuple[str, ...]:
        """Those that the templates name as {user.NAME}."""
        return self.config.templates.user_columns()

    def unread_settings(self, views: Sequence[View]) -> list[str]:
        """Templates of views that the head does not read."""
        return [f"templates.{name}" for name in self.config.templates.unread(views)]

    def load(self, catalog: Catalog, seed: int) -> TextBackbone:
        """Load pretrained weights; nothing is random. Raises LorarecError if some are missing or damaged."""
        self.architecture()
        read = self._checkpoint.language_model if self.config.language_model else self._checkpoint.module
        self.module = read(self._architecture_info, getattr(torch, self.config.dtype), self._attention)
        if not self.config.dropout:
            without_dropout(self.module)
        if layers := self._reading.folder.layers:
            self.module.sentence_layers = SentenceLayers.load(layers)
        self._fingerprint = weights_fingerprint(self.module)
        if unusual := self._reading.unusual():
            self._fingerprint = hashlib.sha256(f"{self._fingerprint} {unusual}".encode()).hexdigest()
        return self

    def featurizer(self, catalog: Catalog, max_length: int) -> TextFeaturizer:
        """Views as token ids, at most `max_length` and at most the recipe's `backbone.max_length`. The catalog is
        tokenized, or read from the cache.

        Raises DataError if an item has no words, LorarecError if the tokenizer does not fit the encoder.
        """
        templates, tokenizer, prompt = self.config.templates, self._tokenizer, self._reading.folder.prompt
        length = min(max_length, self._reading.max_length)
        words = make_words(templates, tokenizer, self._architecture_info.causal, prompt)
        if prompt and words.specials() > length // 2:
            raise LorarecError(
                f"backbone.prompt {prompt[:100]!r} takes {words.specials()} of the {length} tokens of a view. Raise "
                "backbone.max_length, or give a shorter prompt ('' for none)."
            )
        if words.specials() >= length:
            raise LorarecError(
                f"backbone.max_length: the tokenizer's {words.specials():,} special tokens leave none of the {length} "
                "tokens of a view for a text. Raise backbone.max_length, or use another checkpoint."
            )
        items = item_tokens(catalog, templates.item, " " if prompt.endswith(" ") else "", tokenizer)
        listed = item_tokens(catalog, templates.listed, listed_lead(templates), tokenizer)
        config, name = self._architecture_info.config, self._checkpoint.name_or_path
        Vocabulary(tokenizer, config.vocab_size, name).check(words, {"item": items, "listed": listed}, catalog)
        pad = padding(tokenizer, config)
        return TextFeaturizer(
            items=items,
            listed=listed,
            words=words,
            max_length=length,
            pad=pad.token,
            said=(*self._reading.notes(), *([pad.note] if pad.note else [])),
        )

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """One float32 vector per view."""
        reading = self._reading.folder
        hidden_BLD, mask_BL = _states(module, features)
        if reading.prompt and not reading.include_prompt:
            mask_BL = mask_BL.clone()
            mask_BL[:, : self._prompt_length] = False
        pooled_BD = torch.cat([pool(hidden_BLD, mask_BL, how) for how in reading.poolings], dim=-1)
        if reading.layers:
            pooled_BD = module.sentence_layers(pooled_BD).float()  # type: ignore[operator]
        if reading.normalize:
            pooled_BD = nn.functional.normalize(pooled_BD, dim=-1)
        return Encoded(pooled_BD)

    @cached_property
    def _prompt_length(self) -> int:
        """Positions of the prompt and of the special tokens before it."""
        ids = self._tokenizer(self._reading.folder.prompt)["input_ids"]
        return len(ids) - (ids[-1] in self._tokenizer.all_special_ids)

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
        return token_logits(module, pool(*_states(module, features), "last"), ids)

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
        """Write encoder and tokenizer as transformers' `from_pretrained` reads them; if they came from a folder of
        sentence-transformers, together with its files, so that it reads them as this backbone does."""
        layers = getattr(module, "sentence_layers", None)
        state = {name: w for name, w in module.state_dict().items() if not name.startswith("sentence_layers.")}
        with quietly():
            if hasattr(module, "output_embeddings"):
                save_language_model(module, state, folder)
            else:
                module.save_pretrained(folder, state_dict=state)  # type: ignore[operator]  # transformers' models only
        self._tokenizer.save_pretrained(folder)
        if self._own is not None:
            self._reading.folder.write(folder, self._architecture_info.config.hidden_size, layers)

    def load_from(self, folder: Path) -> None:
        """Read configuration, tokenizer and weights from what `save` wrote. Raises LorarecError for anything else."""
        check_saved_folder(folder)
        self._folder = Checkpoint(str(folder))

    def is_reproducible(self) -> bool:
        """Only a hub id pinned to a commit gives the same weights everywhere."""
        return self._folder.pinned


def _states(module: nn.Module, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """[B, L, D] states of the text's positions, and their mask [B, L]."""
    mask_BL = features["attention_mask"]
    hidden_BLD = module(input_ids=features["input_ids"], attention_mask=mask_BL).last_hidden_state
    # An adapter may insert its own positions in front of the text's.
    return hidden_BLD[:, -mask_BL.shape[1] :], mask_BL.bool()


@hookimpl
def lorarec_backbones() -> Iterable[type[Backbone]]:
    """The backbone of this module."""
    return [TextBackbone]

"""TextEncoder: what every backbone that reads words does, composed by the plugins that name a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import Architecture, Backbone, Catalog, DataError, Encoded, IncompatibleError, LorarecError
from lorarec_backbones.checkpoint import Checkpoint, quietly
from lorarec_backbones.fingerprint import weights_fingerprint
from lorarec_backbones.item_tokens import ItemTokens, item_tokens
from lorarec_backbones.module_survey import Survey
from lorarec_backbones.next_tokens import save_language_model, token_logits
from lorarec_backbones.pooling import Pooling, pool
from lorarec_backbones.templates import Templates
from lorarec_backbones.text_featurizer import TextFeaturizer
from lorarec_backbones.transformers_internals import (
    block_list,
    count_frozen,
    probe_features,
    recorded,
    standing_in,
    without_dropout,
)
from lorarec_backbones.words import listed_lead, make_words

EAGER_UP_TO = 256
"""Tokens of a view up to which plain attention is the faster one on a CPU (tests/benchmarks/README.md)."""


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
    """transformers' attention implementation. By default the fastest seen: on a GPU transformers' own choice, on a
    CPU eager up to 256 tokens. A run's environment.json says which it was."""
    dropout: bool = False
    """Whether the checkpoint's own dropout acts while the network trains. With few trainable weights it is not missed,
    it would take up to a third of a step on a CPU, and no hidden state could be kept from one step to the next."""
    normalize: bool = False
    """Scale every vector to length 1."""
    templates: Templates = Templates()
    """How views are written as words."""


class TextEncoder:
    """A transformers encoder or decoder with its tokenizer, pooled to one vector a view."""

    def __init__(
        self, backbone: str, checkpoint: Checkpoint, options: TextOptions, language_model: bool = False
    ) -> None:
        self.backbone = backbone
        self.checkpoint = checkpoint
        self.options = options
        self.language_model = language_model
        """Whether it is asked for logits of next tokens as well."""
        self._ids: dict[str, int] = {}

    @cached_property
    def survey(self) -> Survey:
        """The architecture's facts, read from the configuration only."""
        return self.checkpoint.survey(self.attention)

    @cached_property
    def attention(self) -> str | None:
        """The implementation to ask for; None leaves it to transformers."""
        chosen = self.options.attention
        if chosen is None and not torch.cuda.is_available() and self.options.max_length <= EAGER_UP_TO:
            return "eager"
        return chosen

    @cached_property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return self.checkpoint.tokenizer()

    @cached_property
    def pooling(self) -> Pooling:
        """The pooling chosen, or the architecture's own. Raises LorarecError for cls on a causal model."""
        chosen = self.options.pooling
        if chosen == "cls" and self.survey.causal:
            raise LorarecError(
                f"backbone.pooling 'cls' on '{self.checkpoint.place}': in a causal model the first position "
                "has seen no other. Use last or mean."
            )
        return chosen or ("last" if self.survey.causal else "mean")

    def architecture(self) -> Architecture:
        """What is known without weights. Raises LorarecError if the checkpoint or an option does not fit."""
        found, config = self.survey, self.survey.config
        limit = found.max_length or self.options.max_length
        if self.options.max_length > limit:
            raise LorarecError(
                f"backbone.max_length {self.options.max_length} is more than the {limit} positions of "
                f"'{self.checkpoint.place}'; set at most {limit}."
            )
        _ = self.pooling
        if self.language_model and not found.causal:
            raise LorarecError(
                f"backbone.language_model=true: '{self.checkpoint.place}' ({config.model_type}) is an encoder, which "
                "has no next token. Use a decoder (such as Llama), or leave language_model out."
            )
        return Architecture(
            backbone=self.backbone,
            model_type=config.model_type,
            takes_past=found.takes_past,
            adaptable=found.adaptable,
            feedforward=found.feedforward,
            layers=config.num_hidden_layers,
            max_length=limit,
            hidden_size=config.hidden_size,
            blocks=found.blocks,
            attention=found.attention,
        )

    def load(self) -> tuple[nn.Module, str]:
        """The encoder without pooler, and the fingerprint of its weights."""
        self.architecture()
        read = self.checkpoint.language_model if self.language_model else self.checkpoint.module
        module: nn.Module = read(self.survey, getattr(torch, self.options.dtype), self.attention)
        if not self.options.dropout:
            without_dropout(module)
        return module, weights_fingerprint(module)

    def featurizer(self, catalog: Catalog, max_length: int) -> TextFeaturizer:
        """Tokenise the catalogue, or find it in the cache; views take at most the smaller of the two lengths.

        Raises DataError if an item has no words, LorarecError if the tokenizer does not fit the encoder.
        """
        templates, tokenizer = self.options.templates, self.tokenizer
        words = make_words(templates, tokenizer, self.survey.causal)
        items = item_tokens(catalog, templates.item, "", tokenizer)
        listed = item_tokens(catalog, templates.listed, listed_lead(templates), tokenizer)
        self._check_tokens(catalog, items, listed)
        pads = (tokenizer.pad_token_id, self.survey.config.pad_token_id, tokenizer.eos_token_id, 0)
        return TextFeaturizer(
            items=items,
            listed=listed,
            words=words,
            max_length=min(max_length, self.options.max_length),
            pad=next(pad for pad in pads if pad is not None),
        )

    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """One float32 vector a view."""
        pooled_BD = self._pooled(module, features, self.pooling)
        if self.options.normalize:
            pooled_BD = nn.functional.normalize(pooled_BD, dim=-1)
        return Encoded(pooled_BD)

    def logits(self, module: nn.Module, features: dict[str, Tensor], tokens: Sequence[str]) -> Tensor:
        """[B, K] float32 logits of K named tokens after each view's text; only their rows are computed.

        Raises IncompatibleError without `language_model`, or for a name that is not one token.
        """
        if not self.language_model:
            raise IncompatibleError(
                f"Backbone '{self.backbone}' was loaded without what makes logits of tokens. Set "
                "backbone.language_model=true, with a decoder as the checkpoint."
            )
        ids = [self._token(token) for token in tokens]
        return token_logits(module, self._pooled(module, features, "last"), ids)

    def _token(self, token: str) -> int:
        if token not in self._ids:
            pieces = self.tokenizer(token, add_special_tokens=False)["input_ids"]
            if len(pieces) != 1:
                written = ", ".join(repr(self.tokenizer.decode([piece])) for piece in pieces)
                raise IncompatibleError(
                    f"{token!r} is not one token of '{self.checkpoint.place}' but {len(pieces)}: {written}. Name a "
                    "token of its vocabulary (many begin with a blank)."
                )
            self._ids[token] = int(pieces[0])
        return self._ids[token]

    def _pooled(self, module: nn.Module, features: dict[str, Tensor], how: Pooling) -> Tensor:
        mask_BL = features["attention_mask"]
        hidden_BLD = module(input_ids=features["input_ids"], attention_mask=mask_BL).last_hidden_state
        # An adapter may put positions of its own in front of the text's.
        return pool(hidden_BLD[:, -mask_BL.shape[1] :], mask_BL.bool(), how)

    def frozen_blocks(self, module: nn.Module) -> int:
        """How many of the lowest blocks compute the same at every step, if the encoder can be started above them."""
        if self.options.dropout or not self.survey.blocks:
            return 0
        blocks = count_frozen(module, block_list(module, self.survey.blocks))
        return blocks if blocks and self._starts_above(module, blocks) else 0

    def lower_states(self, module: nn.Module, features: dict[str, Tensor], blocks: int) -> Tensor:
        """[B, L, D] after the lowest `blocks` blocks."""
        with recorded(block_list(module, self.survey.blocks)[blocks - 1]) as outputs:
            module(**features)
        return outputs[0]

    def encode_above(self, module: nn.Module, features: dict[str, Tensor], blocks: int, states: Tensor) -> Encoded:
        """As `encode`, from the states of the lowest `blocks` blocks on."""
        with standing_in(block_list(module, self.survey.blocks)[:blocks], states):
            return self.encode(module, features)

    def _starts_above(self, module: nn.Module, blocks: int) -> bool:
        """Tried on two texts: some encoders hand more than hidden states from block to block."""
        features = probe_features(self.survey.config.vocab_size, next(module.parameters()).device)
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

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write encoder and tokenizer as transformers' `from_pretrained` reads them."""
        with quietly():
            if hasattr(module, "output_embeddings"):
                save_language_model(module, folder)
            else:
                module.save_pretrained(folder)  # type: ignore[operator]  # transformers' models only
        self.tokenizer.save_pretrained(folder)

    def _check_tokens(self, catalog: Catalog, items: ItemTokens, listed: ItemTokens) -> None:
        for tokens, template in ((items, "item"), (listed, "listed")):
            empty = np.flatnonzero(tokens.lengths() == 0)
            if len(empty):
                raise DataError(
                    f"item '{catalog.ids[int(empty[0])]}' has no words in the template '{template}' "
                    f"({len(empty)} such items); give it a text, or change backbone.templates.{template}."
                )
        largest, size = max(items.largest(), listed.largest()), self.survey.config.vocab_size
        if largest >= size:
            raise LorarecError(
                f"backbone.checkpoint '{self.checkpoint.place}': its tokenizer makes the id {largest}, but "
                f"the encoder knows only {size}. Tokenizer and weights belong to different models."
            )

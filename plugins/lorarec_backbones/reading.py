"""Reading: how a backbone reads texts, by the settings of a recipe and, where they say nothing, by the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from lorarec.contracts import Backbone, LorarecError
from lorarec_backbones.sentence_folder import MODULES, SentenceFolder
from lorarec_backbones.templates import Templates

USUAL_LENGTH, LONGEST = 128, 512
"""Default tokens of a view for a checkpoint that says nothing, and the most that a default takes from one."""
Pooling = Literal["mean", "cls", "last"]


class TextOptions(Backbone.Config):
    """Settings of a backbone that reads words."""

    pooling: Pooling | None = None
    """How a text becomes one vector: mean over its positions, cls (the first) or last. By default as the modules.json
    of the checkpoint says; without one, mean for encoders and last for causal decoders."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens a view may take; longer ones lose their oldest events. By default as many as the checkpoint's
    sentence_bert_config.json or tokenizer says, at most 512; without a modules.json, 128."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the backbone's weights."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """transformers' attention implementation. By default the fastest one measured: transformers' own choice on a GPU,
    eager up to 256 tokens on a CPU. A run's environment.json records which one was used."""
    dropout: bool = False
    """Whether the checkpoint's own dropout is active during training, where some of its weights train. With few
    trainable weights it is not needed, it takes up to a third of a step on a CPU, and with it no hidden state can be
    reused from one step to the next."""
    normalize: bool | None = None
    """Scale every vector to length 1. By default if the modules.json of the checkpoint ends with Normalize."""
    prompt: str | None = None
    """Text before every view. By default the checkpoint's own default prompt, if it has one."""
    templates: Templates = Templates()
    """How views are written as words."""


@dataclass(frozen=True)
class Reading:
    """The settings of a recipe, and what the checkpoint itself says."""

    options: TextOptions
    own: SentenceFolder | None
    """None for a checkpoint without a modules.json."""
    causal: bool
    hidden_size: int
    max_length: int
    """Tokens of a view."""
    checkpoint: str
    """Its name, for messages."""

    @property
    def usual_poolings(self) -> tuple[str, ...]:
        """Those of a checkpoint that says nothing."""
        return ("last" if self.causal else "mean",)

    @cached_property
    def folder(self) -> SentenceFolder:
        """What is done."""
        options, own = self.options, self.own or SentenceFolder(poolings=self.usual_poolings)
        return replace(
            own,
            poolings=own.poolings if options.pooling is None else (options.pooling,),
            normalize=own.normalize if options.normalize is None else options.normalize,
            max_length=self.max_length,
            prompt=own.prompt if options.prompt is None else options.prompt,
        )

    @property
    def width(self) -> int:
        """Numbers of a vector. Raises LorarecError if the checkpoint's layers do not fit the pooling."""
        width = self.hidden_size * len(self.folder.poolings)
        for layer in self.folder.layers:
            if layer.inputs not in (0, width):
                raise LorarecError(
                    f"backbone.checkpoint '{self.checkpoint}': its {layer} cannot read vectors of {width} numbers, "
                    f"from pooling {' + '.join(self.folder.poolings)}. Leave backbone.pooling out, or correct "
                    f"{MODULES}."
                )
            width = layer.outputs or width
        return width

    def unusual(self) -> str:
        """What is done by the checkpoint's word alone and is no default of lorarec.

        Part of the fingerprint: a run that was trained before modules.json was read is not read by it now.
        """
        own, options = self.own, self.options
        if own is None:
            return ""
        parts = {
            " ".join(own.poolings): options.pooling is None and own.poolings != self.usual_poolings,
            f"prompt {own.prompt!r}": options.prompt is None and bool(own.prompt),
            "lowercase": own.lowercase,
            "pooled without prompt": bool(self.folder.prompt) and not own.include_prompt,
        }
        return ", ".join(part for part, holds in parts.items() if holds)

    def notes(self) -> list[str]:
        """What the checkpoint says, and where that is not what is done."""
        own, options = self.own, self.options
        if own is None:
            return []
        notes = [f"texts are read as {MODULES} of the checkpoint says: {own.described()}"]
        own_values = {
            "pooling": " + ".join(own.poolings),
            "normalize": own.normalize,
            "max_length": own.max_length,
            "prompt": own.prompt,
        }
        for setting, value in own_values.items():
            given = getattr(options, setting)
            if given is not None and value is not None and given != value:
                notes.append(f"backbone.{setting}={given} is used instead of the checkpoint's own {value}")
        if options.max_length is None and (own.max_length or 0) > LONGEST:
            notes.append(f"texts are cut after {LONGEST} tokens; set backbone.max_length for up to {own.max_length}")
        if own.unread:
            notes.append(f"not honored of the checkpoint's folder: {'; '.join(own.unread)}")
        return notes

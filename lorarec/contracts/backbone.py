"""Backbone: a pretrained encoder, its inputs (views), and the featurizer that turns views into tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from lorarec.contracts.plugin import Plugin
from lorarec.data.catalog import Catalog
from lorarec.errors import IncompatibleError, PluginError


@dataclass(frozen=True)
class Architecture:
    """What is known about a backbone before its weights are loaded; adapters decide from it whether they can attach."""

    backbone: str
    """The backbone plugin's name."""
    model_type: str
    """Name of the architecture in transformers ("bert", "modernbert", ...), or the plugin's own for other modules."""
    takes_past: bool
    """Whether the module uses `past_key_values`, which prefix tuning needs."""
    adaptable: tuple[str, ...]
    """Names of the linear layers that low-rank adapters target by default (attention projections)."""
    feedforward: tuple[str, ...]
    """Names of the feed-forward layers whose inputs methods such as IA3 also rescale."""
    layers: int
    """How many blocks the encoder has."""
    max_length: int
    """Longest input, in positions."""
    hidden_size: int
    blocks: str = ""
    """Dotted name of the module's list of blocks ("encoder.layer"), lowest first; empty if it has none."""
    attention: str = ""
    """The attention implementation, if there is a choice ("eager", "sdpa"); a run folder records it."""


class Encoded(NamedTuple):
    """What a backbone returns for B views. A NamedTuple, so that Accelerate casts it."""

    pooled: Tensor
    """[B, D] one vector per view."""
    states: Tensor | None = None
    """[B, L, D] the hidden state after each event of the history, right-aligned, for backbones that read sequences of
    ids; None for those that read a history as one text."""


class View(NamedTuple):
    """The input of an encoder: a user's history, an item, or both.

    `View(history=(3, 7))` is a user, `View(candidate=4)` an item; with both fields, a user and a candidate item. Text
    backbones turn a view into words, id backbones into rows: a head works with either.
    """

    history: tuple[int, ...] = ()
    """Catalog rows, oldest first."""
    liked: tuple[int, ...] = ()
    """Feedback on each event of the history: 1 liked, 0 not, -1 unknown. Empty if there is none."""
    candidate: int | None = None
    """Catalog row."""
    user: tuple[str, ...] = ()
    """Values of the user's columns as text, in the order of `Backbone.user_columns`; empty if the backbone reads none,
    and in views of single items."""

    @property
    def is_item(self) -> bool:
        """Whether it is a single item: no history and no user columns."""
        return self.candidate is not None and not self.history and not self.user


class Featurizer(Protocol):
    """Turns views into input tensors of the backbone's module; picklable and without weights."""

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Features of B views; every tensor's first dimension is B."""

    def length(self, view: View) -> int:
        """How many positions a view takes; batches group views of similar length."""


@runtime_checkable
class Notes(Protocol):
    """Optional method of a featurizer: notes on the catalog."""

    def notes(self) -> list[str]:
        """Sentences for the data report, such as how many texts are truncated; may be empty."""


class Backbone(Plugin):
    """A pretrained encoder. `architecture` reads configuration only; `load` reads the weights."""

    reads_text: ClassVar[bool] = False
    """Whether item vectors are meaningful before training: texts, read with pretrained weights."""
    reads_feedback: ClassVar[bool] = False
    """Whether `View.liked` is read: which events of a history were liked."""
    module: nn.Module
    """The bare encoder, set by `load`; without a pooler that the forward does not use (DDP fails on unused weights)."""

    @abstractmethod
    def architecture(self) -> Architecture:
        """What is known before weights are loaded. Raises LorarecError if it cannot be determined."""

    def user_columns(self) -> tuple[str, ...]:
        """Columns of the users' table that the featurizer reads from `View.user`, in this order; none by default. A
        head puts them into its views by `Collation.user_words`."""
        return ()

    def unread_settings(self, views: Sequence[View]) -> list[str]:
        """The settings, by their names in a recipe's `backbone`, that are set and do nothing where a head reads
        `views` in addition to single items. None by default."""
        return []

    @abstractmethod
    def load(self, catalog: Catalog, seed: int) -> Self:
        """Load weights into `self.module` (random ones, if any, from `seed`), and return self."""

    @abstractmethod
    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """The featurizer for this catalog; at most `max_length` positions per view (the adapter may reserve some)."""

    @abstractmethod
    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """Run `module` (the bare one or an adapter's) over features."""

    def logits(self, module: nn.Module, features: dict[str, Tensor], tokens: Sequence[str]) -> Tensor:
        """[B, K] logits of K given tokens as the next token. Language models override it.

        Raises IncompatibleError for a name that is not one token.
        """
        raise IncompatibleError(
            f"Backbone '{self.name}' gives no logits of tokens: it is not a language model, or was loaded without its "
            "output embeddings. Use `backbone: text` with a decoder and language_model=true."
        )

    def frozen_blocks(self, module: nn.Module) -> int:
        """How many of the lowest blocks give a view the same hidden states at every step: no weight in them trains.

        `module` is the adapter's. 0, the default, if `encode_above` is not implemented.
        """
        return 0

    def lower_states(self, module: nn.Module, features: dict[str, Tensor], blocks: int) -> Tensor:
        """[B, L, D] hidden states after the lowest `blocks` blocks; positions past a view's length come last."""
        raise PluginError(f"backbone '{self.name}' names frozen blocks, but has no `lower_states`.")

    def encode_above(self, module: nn.Module, features: dict[str, Tensor], blocks: int, states: Tensor) -> Encoded:
        """The result of `encode`, computed from `lower_states` of the same features."""
        raise PluginError(f"backbone '{self.name}' names frozen blocks, but has no `encode_above`.")

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the weights that an adapter is trained on, so that it is never loaded onto others."""

    @abstractmethod
    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the bare encoder as a plain folder, which need not exist yet, that its own library loads (transformers:
        `from_pretrained`)."""

    def load_from(self, folder: Path) -> None:
        """Load from `folder`, which `save` wrote, instead of from the location in the settings.

        Called before every other method. A backbone that is always `is_reproducible` does not need it.
        """
        raise PluginError(f"backbone '{self.name}' keeps a copy of its weights, but has no `load_from` to read it.")

    def is_reproducible(self) -> bool:
        """Whether `load` gives the same weights on any machine; if not, a run folder keeps a copy."""
        return True

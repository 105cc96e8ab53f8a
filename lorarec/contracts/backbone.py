"""Backbone: a pretrained encoder, the views it looks at, and the featurizer that writes them in its language."""

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
    """What is known of a backbone before its weights are loaded; adapters decide on it whether they can attach."""

    backbone: str
    """The backbone plugin's name."""
    model_type: str
    """transformers' name of the architecture ("bert", "modernbert", ...), or the plugin's own for other modules."""
    takes_past: bool
    """Whether the module uses `past_key_values`, which prefix tuning needs."""
    adaptable: tuple[str, ...]
    """Names of the linear layers that low-rank adapters target unless told otherwise (attention projections)."""
    feedforward: tuple[str, ...]
    """Names of the linear layers whose inputs IA3-like methods rescale beside the attention ones."""
    layers: int
    """How many blocks the encoder has."""
    max_length: int
    """Positions the module can take."""
    hidden_size: int
    blocks: str = ""
    """Dotted name of the module's list of blocks ("encoder.layer"), lowest first; empty where it has none."""
    attention: str = ""
    """How attention is computed, where there is a choice ("eager", "sdpa"); a run folder records it."""


class Encoded(NamedTuple):
    """What a backbone returns for B views. A NamedTuple, so that Accelerate casts it."""

    pooled: Tensor
    """[B, D] one vector a view."""
    states: Tensor | None = None
    """[B, L, D] the state after each event of the history, right-aligned, where the backbone has such a thing (id
    sequences); None where a history is one text."""


class View(NamedTuple):
    """A user's history, an item, or both together.

    `View(history=(3, 7))` is a user, `View(candidate=4)` an item, and both fields a user before an item. Text
    backbones write a view as words, id backbones as rows: a head never asks which one it sits on.
    """

    history: tuple[int, ...] = ()
    """Catalog rows, oldest first."""
    liked: tuple[int, ...] = ()
    """Feedback beside each event of the history: 1 liked, 0 not, -1 unknown. Empty where there is none."""
    candidate: int | None = None
    """Catalog row."""
    user: tuple[str, ...] = ()
    """What is known of the user, as words, in the order of `Backbone.user_columns`; empty where the backbone reads
    none, and in views of single items."""

    @property
    def is_item(self) -> bool:
        """Whether it is an item alone: no history, nothing of a user."""
        return self.candidate is not None and not self.history and not self.user


class Featurizer(Protocol):
    """Turns views into what the backbone's module reads; picklable and free of weights."""

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Features of B views; every tensor's first dimension is B."""

    def length(self, view: View) -> int:
        """How many positions a view takes; batches put views of like length together."""


@runtime_checkable
class Remarks(Protocol):
    """What a featurizer may have besides: something to say of the catalogue."""

    def remarks(self) -> list[str]:
        """Sentences for the data report, such as how many texts are cut; none where there is nothing to say."""


class Backbone(Plugin):
    """A pretrained encoder. `architecture` reads configuration only; `load` reads the weights."""

    reads_text: ClassVar[bool] = False
    """Whether untrained vectors of items say something by themselves: their text, read with pretrained weights."""
    reads_feedback: ClassVar[bool] = False
    """Whether `View.liked` is read: what was liked of a history, and what was not."""
    module: nn.Module
    """The bare encoder, set by `load`; without a pooler that the forward would leave unused (DDP would stop)."""

    @abstractmethod
    def architecture(self) -> Architecture:
        """What adapters and heads may know before weights are loaded. Raises LorarecError if it cannot be found out."""

    def user_columns(self) -> tuple[str, ...]:
        """Columns of the users' table that the featurizer reads in `View.user`, in this order; none by default. A head
        puts them into its views by `Collation.user_words`."""
        return ()

    @abstractmethod
    def load(self, catalog: Catalog, seed: int) -> Self:
        """Load weights into `self.module` (random ones, where there are any, from `seed`), and return self."""

    @abstractmethod
    def featurizer(self, catalog: Catalog, max_length: int) -> Featurizer:
        """The featurizer for this catalogue; at most `max_length` positions a view (the adapter may reserve some)."""

    @abstractmethod
    def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
        """Run `module` (the bare one or an adapter's) over features."""

    def logits(self, module: nn.Module, features: dict[str, Tensor], tokens: Sequence[str]) -> Tensor:
        """[B, K] logits of K named tokens, each as the one that would follow. Language models override it.

        Raises IncompatibleError for a name that is not one token.
        """
        raise IncompatibleError(
            f"Backbone '{self.name}' gives no logits of tokens: it is no language model, or was loaded without its "
            "output embeddings. Use `backbone: text` with a decoder and language_model=true."
        )

    def frozen_blocks(self, module: nn.Module) -> int:
        """How many of the lowest blocks give a view the same hidden states at every step: nothing in them trains.

        `module` is the adapter's. 0, the default, where `encode_above` is not to be had.
        """
        return 0

    def lower_states(self, module: nn.Module, features: dict[str, Tensor], blocks: int) -> Tensor:
        """[B, L, D] hidden states after the lowest `blocks` blocks; positions past a view's length come last."""
        raise PluginError(f"backbone '{self.name}' names frozen blocks, but has no `lower_states`.")

    def encode_above(self, module: nn.Module, features: dict[str, Tensor], blocks: int, states: Tensor) -> Encoded:
        """What `encode` gives, but from `lower_states` of the same features on, without computing them."""
        raise PluginError(f"backbone '{self.name}' names frozen blocks, but has no `encode_above`.")

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the weights an adapter was trained on, so that it never lands on others."""

    @abstractmethod
    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the bare encoder as a plain folder, which need not exist yet, that its own library loads (transformers:
        `from_pretrained`)."""

    def use_copy(self, folder: Path) -> None:
        """From now on read from `folder`, which `save` wrote, instead of from where the settings point.

        Called before every other method. A backbone that is always `refetchable` needs none.
        """
        raise PluginError(f"backbone '{self.name}' keeps a copy of its weights, but has no `use_copy` to read it.")

    def refetchable(self) -> bool:
        """Whether `load` gives the same weights again on any machine; if not, a run folder keeps a copy."""
        return True

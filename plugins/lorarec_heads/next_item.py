"""Next item: what a user will turn to, out of the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, model_validator
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    Collation,
    DataError,
    Encoder,
    HeadOutput,
    Histories,
    IncompatibleError,
    Interactions,
    Part,
    RetrievalHead,
    Statistics,
    StrictConfig,
    TaskHead,
    View,
    Views,
    hookimpl,
)
from lorarec_heads.catalogue_loss import full_softmax, sampled_softmax
from lorarec_heads.item_tower import ItemTower
from lorarec_heads.padded_history import Distinct, PaddedHistory
from lorarec_heads.sequence_encoder import CausalTransformer, RunningMean
from lorarec_heads.windows import window_examples


class NextItem(TaskHead):
    """Softmax over the catalogue; item vectors from text, so that new items can be recommended."""

    name = "next_item"
    summary = "the next item out of the whole catalogue, from item texts in sequence"
    paper = "Kang and McAuley, SASRec, ICDM 2018, with text as in UniSRec, Hou et al., KDD 2022"
    kind = "retrieval"
    default_metrics = ("ndcg@10", "hr@10")

    class Config(StrictConfig):
        """Settings of the next-item head."""

        encoder: Literal["transformer", "mean", "backbone", "backbone_steps"] = "transformer"
        """transformer, mean: over the item vectors. backbone: the history is read as one view.
        backbone_steps: the same, and the state after each event is trained on (backbones of item ids, such as
        sasrec)."""
        width: Annotated[int, Field(ge=1)] = 64
        """Length of user and item vectors."""
        layers: Annotated[int, Field(ge=1)] = 1
        """Blocks of the transformer."""
        heads: Annotated[int, Field(ge=1)] = 2
        """Attention heads of the transformer."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
        """Dropout in the transformer."""
        max_history: Annotated[int, Field(ge=1)] = 50
        """The latest events of the user that are looked at."""
        ids: bool = True
        """A vector for each item seen in training, added to that of its text."""
        id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Share of the items whose own vector is left out of a step, so that text learns to stand alone."""
        feedback: bool = False
        """Tell the encoder which events were liked."""
        softmax: Literal["full", "sampled"] = "full"
        """full: over the whole catalogue, which is encoded at each step. sampled: over `negatives` drawn
        items."""
        negatives: Annotated[int, Field(ge=1)] = 512
        """Items drawn for a whole step, with softmax=sampled."""

        @model_validator(mode="after")
        def _no_dead_option(self) -> NextItem.Config:
            used = {
                "layers": self.encoder == "transformer",
                "heads": self.encoder == "transformer",
                "dropout": self.encoder == "transformer",
                "feedback": self.encoder in ("transformer", "mean"),
                "id_dropout": self.ids,
                "negatives": self.softmax == "sampled",
            }
            # A default may be written out, as the recipe of a run folder does.
            fields = type(self).model_fields
            idle = [n for n, works in used.items() if not works and getattr(self, n) != fields[n].default]
            if idle:
                raise ValueError(
                    f"{', '.join(idle)} would do nothing with encoder={self.encoder}, ids={self.ids}, "
                    f"softmax={self.softmax}: leave out"
                )
            if self.encoder == "transformer" and self.width % self.heads:
                raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
            return self

    config: Config

    @property
    def reads_views(self) -> bool:
        """Whether histories go through the backbone as views of their own."""
        return self.config.encoder.startswith("backbone")

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """A window of a training sequence a row; outside training, and without steps, one event a row."""
        if self.config.feedback and part == Part.TRAIN:
            _refuse_missing_feedback(interactions)
        length = 1 if self.config.encoder == "backbone" else self.config.max_history
        return window_examples(interactions, histories, part, length)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """Items, and perhaps histories, as views; tensors of B windows of L events, and in training their
        targets."""
        history = PaddedHistory.of(collation.histories, rows["event"], self.config.max_history)
        liked = history.liked(collation.histories.liked_above).astype(np.int64)
        tensors = {
            "mask": torch.from_numpy(history.mask),
            "feedback": torch.from_numpy(liked + 1),
        }
        targets = self._targets(rows, history, collation) if collation.training else None
        views = self._item_views(history, targets, tensors, collation)
        if self.reads_views:
            found = zip(history.items, history.feedback, history.mask, strict=True)
            read = [
                View(tuple(items[mask].tolist()), collation.histories.liked(feedback[mask]))
                for items, feedback, mask in found
            ]
            views["histories"] = collation.views(read)
        count = len(rows["event"]) if targets is None else int((targets >= 0).sum())
        return Batch(torch.from_numpy(rows["row"]), count, views, tensors)

    def _targets(self, rows: dict[str, np.ndarray], history: PaddedHistory, collation: Collation) -> np.ndarray:
        """[B, L] catalogue row of the event after each place, -1 where it is not to be predicted."""
        last = collation.interactions.item[rows["event"]]
        following = np.concatenate([history.items[:, 1:], last[:, None]], axis=1)
        length = following.shape[1]
        wanted = np.arange(length) >= length - rows["targets"][:, None]
        return np.where(wanted, following, -1)

    def _item_views(
        self,
        history: PaddedHistory,
        targets: np.ndarray | None,
        tensors: dict[str, Tensor],
        collation: Collation,
    ) -> dict[str, Views]:
        """Views of the items needed; puts where histories, targets and drawn items stand among them into
        `tensors`."""
        read = np.empty((len(history.items), 0), np.int64) if self.reads_views else history.items
        if targets is None:
            distinct = Distinct.of(read)
            tensors |= {"items": torch.from_numpy(distinct.items), "history": distinct.places[0]}
            return {} if self.reads_views else {"items": collation.item_views(distinct.items)}
        tensors["targets"] = torch.from_numpy(targets)
        if self.config.softmax == "full":
            every = np.arange(collation.catalog_size)
            tensors |= {"items": torch.from_numpy(every), "history": torch.from_numpy(read)}
            return {"items": collation.item_views(every)}
        drawn = collation.negatives.for_step(collation.epoch, collation.step, self.config.negatives)
        distinct = Distinct.of(read, targets[targets >= 0], drawn)
        tensors |= dict(zip(("history", "own", "drawn"), distinct.places, strict=True))
        tensors["items"] = torch.from_numpy(distinct.items)
        return {"items": collation.item_views(distinct.items)}

    def build(self, hidden_size: int, statistics: Statistics) -> NextItemNetwork:
        """A network that starts as popularity and the texts' likeness to the latest event.

        Raises DataError for a catalogue of one item.
        """
        if len(statistics.item_counts) < 2:
            raise DataError("The catalogue holds one item: there is no next one to choose. Check data.columns.item.")
        return NextItemNetwork(self.config, hidden_size, statistics)


class NextItemNetwork(RetrievalHead):
    """User and item vectors; their last dimension carries the item's bias."""

    def __init__(self, config: NextItem.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self._catalog_size = len(statistics.item_counts)
        width = config.width
        self.tower = ItemTower(hidden_size, width, statistics.item_counts, config.ids, config.id_dropout)
        self.sequence: nn.Module
        if config.encoder == "transformer":
            self.sequence = CausalTransformer(width, config.layers, config.heads, config.dropout, config.max_history)
        elif config.encoder == "mean":
            self.sequence = RunningMean(width)
        else:
            self.sequence = nn.Sequential(nn.Linear(hidden_size, width), nn.LayerNorm(width))
        self.feedback = nn.Parameter(torch.zeros(3, width)) if config.feedback else None
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, encode: Encoder, batch: Batch) -> HeadOutput:
        """Softmax cross entropy summed over the windows' targets; no scores."""
        tensors = batch.tensors
        texts = encode("items").float()
        states = self._views_read(encode)
        with torch.autocast(texts.device.type, enabled=False):
            vectors, bias = self.tower(texts, tensors["items"])
            states = self._states(vectors, tensors) if states is None else states
            users = self._users(self._before_targets(self._project(states), tensors["targets"]))
            items = torch.cat([vectors, bias[:, None]], dim=1)
            target = tensors["targets"][tensors["targets"] >= 0]
            if self._config.softmax == "full":
                loss = full_softmax(users, items, target)
            else:
                own, drawn = items[tensors["own"]], tensors["drawn"]
                rows = tensors["items"][drawn]
                loss = sampled_softmax(users, own, items[drawn], target, rows, self._catalog_size)
        return HeadOutput(loss, torch.empty(0, device=texts.device))

    def user_vectors(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B, width + 1] users after their latest event."""
        states = self._views_read(encode)
        if states is None:
            vectors, _ = self.tower(encode("items"), batch.tensors["items"])
            states = self._states(vectors, batch.tensors)
        return self._users(self._project(states[:, -1]))

    def item_vectors(self, pooled: Tensor, items: Tensor) -> Tensor:
        """[M, width + 1] items, their bias last."""
        vectors, bias = self.tower(pooled, items)
        return torch.cat([vectors, bias[:, None]], dim=1)

    def _views_read(self, encode: Encoder) -> Tensor | None:
        """[B, L or 1, D] what the backbone made of the histories, where it is the sequence encoder."""
        if self._config.encoder == "backbone":
            return encode("histories").float()[:, None]
        if self._config.encoder == "backbone_steps":
            steps = encode.steps("histories")
            if steps is None:
                raise IncompatibleError(
                    "head.encoder=backbone_steps needs a backbone with a state after each event, such as "
                    "'sasrec'. With "
                    "a text backbone use head.encoder=transformer, or backbone for the history as one text."
                )
            return steps.float() if steps.shape[1] else steps.new_zeros(len(steps), 1, steps.shape[2]).float()
        return None

    def _states(self, vectors: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """[B, L, width] after each event of the history, over item vectors."""
        events = vectors[tensors["history"]]
        if self.feedback is not None:
            events = events + self.feedback[tensors["feedback"]]
        states: Tensor = self.sequence(events, tensors["mask"])
        return states

    def _before_targets(self, states: Tensor, targets: Tensor) -> Tensor:
        """[F, width] the states before the targets; both are right-aligned. Raises IncompatibleError if there
        are fewer."""
        length = min(states.shape[1], targets.shape[1])
        wanted = targets >= 0
        if wanted[:, : targets.shape[1] - length].any():
            raise IncompatibleError(
                f"The backbone reads {length} events of histories of {targets.shape[1]}, so that some "
                f"targets would "
                f"have no state before them. Set head.max_history={length}."
            )
        before: Tensor = states[:, -length:][wanted[:, -length:]]
        return before

    def _project(self, states: Tensor) -> Tensor:
        """States of the backbone brought to `width`; those of the head's own encoder have it."""
        if self._config.encoder.startswith("backbone"):
            projected: Tensor = self.sequence(states)
            return projected
        return states

    def _users(self, states: Tensor) -> Tensor:
        """[..., width + 1]: scaled states, and the 1 that the item's bias is multiplied by."""
        scaled = states * self.log_scale.exp()
        return torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)


def _refuse_missing_feedback(interactions: Interactions) -> None:
    given = ("history_feedback",) if interactions.has("history") else ("rating", "click")
    if not any(interactions.has(name) for name in given):
        raise DataError(
            f"head.feedback tells what was liked, but the data has no column {' or '.join(given)}. Set "
            "head.feedback=false, or name the column under data.columns."
        )


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Next item."""
    return [NextItem]

"""Click-through rate: the probability that a user will like, click or choose an item."""

from __future__ import annotations

import math
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
    Interactions,
    Part,
    PointwiseHead,
    Statistics,
    StrictConfig,
    TaskHead,
    hookimpl,
)
from lorarec_heads.fact_groups import fact_examples
from lorarec_heads.history_signals import HistorySignals
from lorarec_heads.padded_history import Distinct, PaddedHistory, distinct_views, pair_views
from lorarec_heads.pair_score import PairScore
from lorarec_heads.sampled_clicks import candidates_of, sampled_examples


class Ctr(TaskHead):
    """Binary cross entropy on clicks, given ones or chosen against sampled items."""

    name = "ctr"
    summary = "probability of a click or a like, from text and history"
    paper = "Attention over the history after Deep Interest Network, Zhou et al., KDD 2018"
    kind = "pointwise"
    default_metrics = ("auc", "log_loss")

    class Config(StrictConfig):
        """Settings of the click-through-rate head."""

        encoding: Literal["separate", "joint"] = "separate"
        """separate: each item's text is encoded once a batch and compared with those of the history. joint:
        the history and the candidate are read as one text."""
        max_history: Annotated[int, Field(ge=1)] = 50
        """The latest events of the user that are looked at."""
        negatives: Annotated[int, Field(ge=0)] = 0
        """0: the data says what was clicked and what was not. Above: every event is a click, and so many
        items that the user has not had are drawn beside it; validation and test draw once and for all."""
        biases: bool = False
        """A weight for each item seen in training: popular items get more clicks."""
        bias_penalty: Annotated[float, Field(ge=0)] = 0.02
        """L2 penalty on the item's bias for each of its facts, with `biases`."""

        @model_validator(mode="after")
        def _no_dead_option(self) -> Ctr.Config:
            # A default may be written out, as the recipe of a run folder does.
            if not self.biases and self.bias_penalty != type(self).model_fields["bias_penalty"].default:
                raise ValueError("bias_penalty would do nothing with biases=False: leave it out")
            return self

    config: Config

    def needs(self) -> frozenset[str]:
        """Clicks, unless items are drawn to tell them apart from."""
        return frozenset() if self.config.negatives else frozenset({"click"})

    def label(self) -> str:
        """Clicks: the data's, or made by drawing items beside them."""
        return "click"

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError naming the first row whose click is neither 0 nor 1, or if all are the same."""
        wrong = np.flatnonzero((labels != 0) & (labels != 1))
        if len(wrong):
            raise DataError(
                f"Row {rows[wrong[0]]}, 'click': {labels[wrong[0]]:g} is neither 0 nor 1 ({len(wrong)} such "
                f"rows). Give "
                "clicks as 0 and 1; for stars use head 'rating'."
            )
        if len(labels) > 1 and np.all(labels == labels[0]):
            raise DataError(
                f"All {len(labels)} values of 'click' are {labels[0]:g}: there is nothing to tell apart. "
                f"Where the data "
                "holds clicks alone, leave out data.columns.click and set head.negatives=4."
            )

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One fact a row: an event, or with `negatives` also each item drawn beside it (column `draw`)."""
        if not self.config.negatives:
            return fact_examples(interactions, part, "click", 1)
        if interactions.has("click"):
            raise DataError(
                "head.negatives draws items that were not clicked, but the data has the column 'click', "
                "which says so "
                "itself. Set head.negatives=0, or leave out data.columns.click and the rows without a click."
            )
        return sampled_examples(interactions, part, self.config.negatives)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """Distinct items, or pairs, as views; tensors of B facts: places of candidates, histories and
        their items, likes, clicks."""
        config, events = self.config, rows["event"]
        history, owner = PaddedHistory.shared(collation.histories, events, config.max_history)
        candidates = collation.interactions.item[events]
        if "draw" in rows:
            candidates = candidates_of(rows, candidates, config.negatives, collation)
        distinct = Distinct.of(candidates, history.items)
        tensors = {
            "items": torch.from_numpy(distinct.items),
            "candidate": distinct.places[0],
            "history": distinct.places[1],
            "owner": torch.from_numpy(owner),
            "mask": torch.from_numpy(history.mask),
            "liked": torch.from_numpy(history.liked(collation.histories.liked_above)),
        }
        if collation.training:
            tensors["labels"] = torch.from_numpy(rows["label"].astype(np.float32))
        if config.encoding == "separate":
            views = {"items": collation.item_views(distinct.items)}
        else:
            pairs, tensors["pair"] = distinct_views(pair_views(history, owner, candidates, collation))
            views = {"pairs": collation.views(pairs)}
        return Batch(torch.from_numpy(rows["row"]), len(events), views, tensors)

    def build(self, hidden_size: int, statistics: Statistics) -> CtrNetwork:
        """A network that starts from the signals of the history."""
        return CtrNetwork(self.config, hidden_size, statistics)


class CtrNetwork(PointwiseHead):
    """Logit of a click: base rate + signals of the history + item bias, or the joint text's score."""

    seen: Tensor

    def __init__(self, config: Ctr.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._penalty = config.bias_penalty
        separate = config.encoding == "separate"
        self.signals = HistorySignals(hidden_size if separate else 0, explicit=not config.negatives)
        self.pair = None if separate else PairScore(hidden_size)
        self.text_bias = nn.Sequential(nn.LayerNorm(hidden_size), _zero_linear(hidden_size)) if separate else None
        self.bias = nn.Parameter(torch.zeros(len(statistics.item_counts))) if config.biases else None
        self.register_buffer("seen", torch.from_numpy(np.asarray(statistics.item_counts) > 0).float())
        # Liked shares speak of the base rate already; drawn items have one by construction.
        start = -math.log(config.negatives) if config.negatives else 0.0
        self.base = nn.Parameter(torch.tensor(start))

    def forward(self, encode: Encoder, batch: Batch) -> HeadOutput:
        """Binary cross entropy of the logits, and the penalty, summed over the facts."""
        logits = self._logits(encode, batch)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.tensors["labels"], reduction="sum")
        if self.bias is not None:
            candidates = batch.tensors["items"][batch.tensors["candidate"]]
            loss = loss + self._penalty * self.bias[candidates].square().sum()
        return HeadOutput(loss, logits.sigmoid())

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] probabilities of a click."""
        return self._logits(encode, batch).sigmoid()

    def _logits(self, encode: Encoder, batch: Batch) -> Tensor:
        tensors = batch.tensors
        texts = encode("items" if self.pair is None else "pairs").float()
        # Under mixed precision the signals would lose digits that the gradients need.
        with torch.autocast(texts.device.type, enabled=False):
            candidate = tensors["candidate"]
            per_item = texts if self.pair is None else None
            seen = (tensors[name] for name in ("history", "owner", "mask", "liked"))
            logits: Tensor = self.base + self.signals(per_item, candidate, *seen)
            if self.pair is not None:
                logits = logits + self.pair(texts)[tensors["pair"]]
            if self.text_bias is not None:
                logits = logits + self.text_bias(texts).squeeze(1)[candidate]
            if self.bias is not None:
                items = tensors["items"][candidate]
                logits = logits + self.bias[items] * self.seen[items]
            return logits


def _zero_linear(size: int) -> nn.Linear:
    layer = nn.Linear(size, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Click-through rate."""
    return [Ctr]

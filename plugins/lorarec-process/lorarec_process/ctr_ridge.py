"""CtrRidge: the probability of a click, from the quality of the item and the user's taste."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field
from torch import Tensor

from lorarec.contracts import (
    Batch,
    ClickTask,
    Encoder,
    Histories,
    Interactions,
    ItemEmbedding,
    PairHead,
    PairScore,
    Part,
    Statistics,
)
from lorarec_process.user_ridge import START, UserRidge

RARE = 0.02
"""The initial share of clicks is clipped to this distance from 0 and 1."""


class CtrRidge(ClickTask):
    """Quality of the item + the user's taste, computed in closed form from the history: a new user needs no weights,
    and a new item is scored by its text and columns."""

    name = "ctr_ridge"
    summary = "probability of a click or a like, by the item's quality and a ridge regression per user"
    paper = "Ridge regression in each user: Rasmussen and Williams, Gaussian Processes for ML, 2006, ch. 2"

    class Config(ClickTask.Config):
        """Settings of the ridge of clicks."""

        biases: bool = False
        """Whether each training item has a learned quality, in addition to that of its text and columns."""
        factors: Annotated[int, Field(ge=0)] = 0
        """Size of learned vectors of items with training rows, by which items are compared in addition to their text;
        0 for none."""
        item_columns: tuple[str, ...] = ()
        """Columns of the item table (numbers, words, lists of words) by which items are compared, in addition to
        their text."""

    config: Config

    def item_columns(self) -> tuple[str, ...]:
        """Those of the recipe."""
        return self.config.item_columns

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """Those of every click-through-rate task; in training, also the share of the prior that each example counts."""
        single = super().examples(interactions, histories, part)
        return with_shares(single, interactions) if part == Part.TRAIN and len(single) else single

    def build(self, hidden_size: int, statistics: Statistics) -> CtrRidgeNetwork:
        """A network that starts from the prior variances."""
        return CtrRidgeNetwork(self.config, hidden_size, statistics)


class CtrRidgeNetwork(PairHead):
    """Logit of a click: base rate + quality of the item + taste of the user, and the joint text's score."""

    base: Tensor

    def __init__(self, config: CtrRidge.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._compares = config.compares
        self.loss = config.loss.module(statistics)
        joint = config.encoding == "joint"
        self.pair = PairScore(hidden_size, shifts=not config.compares) if joint else None
        share = 1 / (1 + config.negatives) if config.negatives else statistics.label_mean
        share = min(max(share, RARE), 1 - RARE)
        counts, rated = np.asarray(statistics.item_counts), statistics.items_with_rows()
        features = [statistics.item_features[name] for name in config.item_columns]
        # Counts include rows only; with targets from histories, items that never occur keep their initial weight 0.
        seen = rated | config.history_targets if config.biases else rated[:0]
        factors = ItemEmbedding(counts, config.factors, START) if config.factors else None
        unlabeled = 1.0 if config.negatives else 0.0
        self.ridge = UserRidge(share, seen, 0 if joint else hidden_size, features, unlabeled, factors)
        start = torch.tensor(math.log(share / (1 - share)))
        # Pairwise losses give a shift of all logits only rounding errors as gradients, which AdamW would amplify.
        if config.compares:
            self.register_buffer("base", start)
        else:
            self.base = torch.nn.Parameter(start)

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] the loss of each target's logit, or of each group's logits."""
        logits, labels = self._logits(encode, batch), batch.tensors["labels"]
        arguments = (logits.view(batch.count, -1),) if self._compares else (logits, labels)
        losses: Tensor = self.loss(*arguments)
        return losses

    def regularizer(self, batch: Batch) -> Tensor:
        """[] the prior of the items; over one epoch it counts once."""
        tensors = batch.tensors
        return self.ridge.penalty(tensors["items"][tensors["candidate"]], tensors["own_share"], tensors["share"])

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] probabilities of a click."""
        return self._logits(encode, batch).sigmoid()

    def _logits(self, encode: Encoder, batch: Batch) -> Tensor:
        tensors = batch.tensors
        texts = encode.vectors("items" if self.pair is None else "pairs").float()
        # Under mixed precision the ridge regression would be solved in half precision.
        with torch.autocast(texts.device.type, enabled=False):
            seen = tuple(tensors[name] for name in ("candidate", "history", "owner", "mask", "liked"))
            logits: Tensor = self.base + self.ridge(tensors["items"], texts if self.pair is None else None, *seen)
            return logits if self.pair is None else logits + self.pair(texts)[tensors["pair"]]


def with_shares(examples: Dataset, interactions: Interactions) -> Dataset:
    """Training examples with the columns `share` and `own_share` that `UserRidge.penalty` reads, so that one epoch
    counts the prior once.

    An example may have several targets, in columns `event` (and `item`), `compared1_event` and so on. The items of
    targets that are sampled again in each epoch (column `negative_index`) are not known: there each target has
    the same share.
    """
    plain = examples.with_format("numpy")
    prefixes = [name.removesuffix("event") for name in examples.column_names if name.endswith("event")]
    targets = len(examples) * len(prefixes)
    if "negative_index" in examples.column_names:
        own = {prefix: np.full(len(examples), (interactions.item.max() + 1) / targets) for prefix in prefixes}
    else:
        named = "item" in examples.column_names
        items = {p: np.asarray(plain[f"{p}item"] if named else interactions.item[plain[f"{p}event"]]) for p in prefixes}
        counts = np.bincount(np.concatenate(list(items.values())))
        own = {prefix: 1.0 / counts[rows] for prefix, rows in items.items()}
    for prefix in prefixes:
        examples = examples.add_column(f"{prefix}share", np.full(len(examples), 1.0 / targets))
        examples = examples.add_column(f"{prefix}own_share", own[prefix])
    return examples

"""Comparison: which of two items does better, and by how much, from their texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Annotated
from zlib import crc32

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    Collation,
    DataError,
    Encoder,
    Histories,
    Interactions,
    PairHead,
    PairPredictor,
    Part,
    Rows,
    Statistics,
    StrictConfig,
    TaskHead,
    event_examples,
    hookimpl,
    pair_batch,
)

TEXT_STEP, WORD_STEP = 0.1, 10.0
"""What the encoder's direction and the weights of words are multiplied by: Adam's steps are of one size for both,
but a text has hundreds of dimensions of size 1 and a word is met a few times; chosen on headlines' validation rows."""
WORD_SHARE = 1 / 3
"""What the words' opinion counts for beside the encoder's; chosen on headlines' validation rows."""
WORD = re.compile(r"\w+|[^\w\s]")
KEPT = 65_536
"""So many texts' buckets are remembered: texts come again each epoch."""


class Comparison(TaskHead):
    """Regression on how far an item was ahead of what it was compared with, as paired comparisons are modelled: each
    item has a strength, and only differences of strengths are ever seen."""

    name = "comparison"
    summary = "which of two items does better, from their texts: A/B tests, paired comparisons"
    paper = "Strengths whose differences are seen: Thurstone, A Law of Comparative Judgment, Psych. Review 1927"
    predictor = PairPredictor
    default_metrics = ("pair_accuracy",)

    class Config(StrictConfig):
        """Settings of the comparison head."""

        cap: Annotated[float, Field(gt=0)] = 6.0
        """A lead larger than this, in the unit of the data's `rating` (standard errors, where that is what it is),
        is learned from as this much: a huge test says which item is better, not that it is hugely better."""
        words: Annotated[int, Field(ge=0)] = 65_536
        """Weights for the words of a text, found by a hash, which give a second opinion beside the encoder's; 0 for
        none."""
        pairs_per_example: Annotated[int, Field(ge=1)] = 64
        """Comparisons of one user (one test) that are learned from together: they share items, so that fewer texts
        are encoded. `train.batch_size` counts these groups."""
        max_history: Annotated[int, Field(ge=1)] = 50
        """So many of the items that one is compared with are looked at, the latest."""

    config: Config

    def needs(self) -> frozenset[str]:
        """How far ahead the item was."""
        return frozenset({"rating"})

    def label(self) -> str:
        """How far the item was ahead of its history's: above 0 where it was better."""
        return "rating"

    def check_labels(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise DataError where no item was ever behind, or none ahead: these are no leads."""
        if len(labels) > 1 and ((labels >= 0).all() or (labels <= 0).all()):
            raise DataError(
                f"Row {rows.name(0)}, 'rating': {labels[0]:g}. Head 'comparison' learns from leads, above 0 where the "
                f"item was better than those of its history and below 0 where it was worse, but all {len(labels)} are "
                f"from {labels.min():g} to {labels.max():g}. For stars use head 'rating'."
            )

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One comparison a row; in training, `pairs_per_example` of one user a row."""
        return event_examples(
            interactions, part, self.label(), self.config.pairs_per_example if part == Part.TRAIN else 1
        )

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """The batch of `pair_batch`, and buckets of the items' words; the labels are leads."""
        batch = pair_batch(rows, collation, self.config.max_history)
        if not self.config.words:
            return batch
        assert collation.catalog is not None
        texts = collation.catalog.texts(batch.tensors["items"].tolist())
        buckets, starts = hashed_texts(texts, self.config.words)
        return replace(batch, tensors=batch.tensors | {"buckets": buckets, "starts": starts})

    def build(self, hidden_size: int, statistics: Statistics) -> ComparisonNetwork:
        """A network that starts with all items equal."""
        return ComparisonNetwork(self.config, hidden_size)


class ComparisonNetwork(PairHead):
    """Strength of the item, less the mean strength of its history's: 0 of an empty one.

    The encoder and the words are two opinions, each learned as if the other were not there. Learned as one sum, they
    fit the noise of the training rows together, and predict worse than either does alone.
    """

    def __init__(self, config: Comparison.Config, hidden_size: int) -> None:
        super().__init__()
        self._cap = config.cap
        self.direction = nn.Linear(hidden_size, 1, bias=False)
        nn.init.zeros_(self.direction.weight)
        self.words = HashedWords(config.words) if config.words else None

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] squared error of each lead, the mean of the opinions' own."""
        opinions = self._opinions(encode, batch)
        wanted = batch.tensors["labels"].clamp(-self._cap, self._cap)
        return (torch.stack(opinions) - wanted).square().mean(dim=0)

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] how far each item is expected to be ahead of its history's."""
        return _together(self._opinions(encode, batch))

    def _opinions(self, encode: Encoder, batch: Batch) -> list[Tensor]:
        """[F] leads, by the encoder, and by the words where there are any."""
        texts, tensors = encode.vectors("items").float(), batch.tensors
        # Under mixed precision the leads would lose digits that the gradients need.
        with torch.autocast(texts.device.type, enabled=False):
            normalized = nn.functional.layer_norm(texts, texts.shape[-1:])
            strengths = [TEXT_STEP * self.direction(normalized).squeeze(1)]
            if self.words is not None:
                strengths.append(WORD_STEP * self.words(tensors["buckets"], tensors["starts"]))
            return [_leads(strength, tensors) for strength in strengths]


def _leads(strength: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """[F] from the strengths [V] of distinct items."""
    mask = tensors["mask"].float()
    against = (strength[tensors["history"]] * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return strength[tensors["candidate"]] - against[tensors["owner"]]


def _together(opinions: list[Tensor]) -> Tensor:
    if len(opinions) == 1:
        return opinions[0]
    text, words = opinions
    return text.lerp(words, WORD_SHARE)


class HashedWords(nn.Module):
    """The wide part of a wide and deep model (Cheng et al., DLRS 2016): linear in the words of a text.

    Words and punctuation marks fall into buckets by a hash, so that there is no vocabulary to keep and texts never
    seen can be scored (Weinberger et al., ICML 2009). All weights start at 0.
    """

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(buckets, 1))

    def forward(self, buckets: Tensor, starts: Tensor) -> Tensor:
        """[V] the sum of each text's weights over the root of their number; `hashed_texts` gives both arguments."""
        counts = torch.diff(starts, append=torch.full_like(starts[:1], len(buckets)))
        sums = nn.functional.embedding_bag(buckets, self.weights, starts, mode="sum").squeeze(1)
        return sums / counts.clamp(min=1).sqrt()


def hashed_texts(texts: Iterable[str], buckets: int) -> tuple[Tensor, Tensor]:
    """The buckets of V texts end to end, [n] int64, and where each text's begin, [V] int64."""
    hashed = [hashed_text(text, buckets) for text in texts]
    starts = np.cumsum([0, *(len(one) for one in hashed)])[:-1]
    return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *hashed])), torch.from_numpy(starts)


@lru_cache(maxsize=KEPT)
def hashed_text(text: str, buckets: int) -> np.ndarray:
    """[n] int64 the distinct buckets of a text's words and marks; small and capital letters are one."""
    # CRC-32 and not hash(), which differs from one process to the next.
    return np.array(sorted({crc32(word.encode()) % buckets for word in WORD.findall(text.lower())}), np.int64)


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Comparison."""
    return [Comparison]

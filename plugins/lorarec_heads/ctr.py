"""Click-through rate: the probability that a user will like, click or choose an item."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    ClickTask,
    Encoder,
    PairHead,
    PairScore,
    Statistics,
    TaskHead,
    TextCosine,
    hookimpl,
    moved,
    pair_products,
)

EXPLICIT = (1.0, 1.5, 0.7, 0.0, 0.0)
"""Weights to start from where the histories say what was liked."""
IMPLICIT = (0.0, 0.0, 0.0, 4.0, 4.0)
"""Weights to start from where they say only what was chosen."""


class Ctr(ClickTask):
    """Binary cross entropy on clicks, given ones or chosen against sampled items."""

    name = "ctr"
    summary = "probability of a click or a like, from text and history"
    paper = "Attention over the history after Deep Interest Network, Zhou et al., KDD 2018"

    class Config(ClickTask.Config):
        """Settings of the click-through-rate head."""

        biases: bool = False
        """A weight for each item seen in training: popular items get more clicks."""
        bias_penalty: Annotated[float, Field(ge=0)] = 0.02
        """L2 penalty on the item's bias for each of its targets, with `biases`."""

        @model_validator(mode="before")
        @classmethod
        def _ridge_moved(cls, values: Any) -> Any:
            there = "a setting of head 'ctr_ridge' of the package lorarec-process"
            ridge = "head: {name: ctr_ridge, ...}"
            now = {"history_model": ("signals", ridge), "factors": (0, ridge), "item_columns": ([], ridge)}
            return moved(values, now, where=there)

        @model_validator(mode="after")
        def _no_dead_penalty(self) -> Ctr.Config:
            if self.idle({"bias_penalty": self.biases}):
                raise ValueError("bias_penalty would do nothing with biases=False: leave it out")
            return self

    config: Config

    def build(self, hidden_size: int, statistics: Statistics) -> CtrNetwork:
        """A network that starts from the signals of the history."""
        return CtrNetwork(self.config, hidden_size, statistics)


class CtrNetwork(PairHead):
    """Logit of a click: base rate + what the history says + item bias, or the joint text's score."""

    seen: Tensor
    base: Tensor

    def __init__(self, config: Ctr.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self.loss = config.loss.module(statistics)
        separate = config.encoding == "separate"
        # Pairwise losses give a shift of all logits only rounding errors as gradients, which AdamW would amplify.
        shifts = not config.compares
        self.pair = None if separate else PairScore(hidden_size, shifts=shifts)
        # Counts are of rows alone: among the events of histories, items that are never a target keep the bias 0.
        seen = statistics.items_with_rows() | config.history_targets
        # Liked shares speak of the base rate already; drawn items have one by construction.
        start = -math.log(config.negatives) if config.negatives else 0.0
        self.signals = HistorySignals(hidden_size if separate else 0, explicit=not config.negatives)
        self.text_bias = _text_bias(hidden_size, shifts) if separate else None
        self.bias = nn.Parameter(torch.zeros(len(seen))) if config.biases else None
        self.register_buffer("seen", torch.from_numpy(seen).float())
        if shifts:
            self.base = nn.Parameter(torch.tensor(start))
        else:
            self.register_buffer("base", torch.tensor(start))

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] the loss of each target's logit, or of each group's logits."""
        logits, labels = self._logits(encode, batch), batch.tensors["labels"]
        given = (logits.view(batch.count, -1),) if self._config.compares else (logits, labels)
        losses: Tensor = self.loss(*given)
        return losses

    def regularizer(self, batch: Batch) -> Tensor | None:
        """[] L2 on the biases of the targets' items."""
        if self.bias is None:
            return None
        candidates = batch.tensors["items"][batch.tensors["candidate"]]
        squares = self.bias[candidates].square().view(batch.count, -1).sum(dim=1)
        return self._config.bias_penalty * batch.total(squares)

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] probabilities of a click."""
        return self._logits(encode, batch).sigmoid()

    def _logits(self, encode: Encoder, batch: Batch) -> Tensor:
        tensors = batch.tensors
        texts = encode.vectors("items" if self.pair is None else "pairs").float()
        # Under mixed precision the signals would lose digits that the gradients need.
        with torch.autocast(texts.device.type, enabled=False):
            candidate, items = tensors["candidate"], tensors["items"]
            per_item = texts if self.pair is None else None
            history = tuple(tensors[name] for name in ("history", "owner", "mask", "liked"))
            logits: Tensor = self.base + self.signals(per_item, candidate, *history)
            if self.pair is not None:
                logits = logits + self.pair(texts)[tensors["pair"]]
            if self.text_bias is not None:
                logits = logits + self.text_bias(texts).squeeze(1)[candidate]
            if self.bias is not None:
                logits = logits + self.bias[items[candidate]] * self.seen[items[candidate]]
            return logits


def _text_bias(size: int, shifts: bool) -> nn.Module:
    """A linear function of the text, 0 at first; `shifts`: whether it may be one number for all texts."""
    layer = nn.Linear(size, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return nn.Sequential(nn.LayerNorm(size, bias=shifts), layer)


class HistorySignals(nn.Module):
    """A weighted sum, in logits, of five signals that need no training.

    liked_share: log odds of the share of the history that was liked, shrunk to a half. liked_similarity: mean
    cosine of the candidate's text with those of the history, counted against where an item was not liked.
    nearest_liked: whether the items nearest to the candidate were liked (attention with a learned sharpness,
    after DIN; Zhou et al., KDD 2018). similarity and nearest: mean and nearest cosine, liked or not. Signals
    start with sensible weights, since they beat much larger models that must learn them.
    """

    def __init__(self, text_size: int, explicit: bool) -> None:
        """`text_size`: length of the text vectors, 0 to use liked_share alone."""
        super().__init__()
        start = EXPLICIT if explicit else IMPLICIT
        self.text = TextCosine(text_size) if text_size else None
        self.weight = nn.Parameter(torch.tensor(start if text_size else start[:1]))
        if text_size:
            self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(
        self, texts: Tensor | None, candidate: Tensor, history: Tensor, owner: Tensor, mask: Tensor, liked: Tensor
    ) -> Tensor:
        """[T] logits.

        texts [V, D] of distinct items; candidate [T] and history [H, L] indices among them; owner [T] which of the H
        histories belongs to each target; mask [H, L] true where there is an event; liked [H, L]: 1 liked, -1 not, 0
        unknown.
        """
        signals = [_log_odds(liked * mask)[owner]]
        if self.text is not None:
            assert texts is not None
            unit = self.text(texts)
            mask, liked = mask[owner], liked[owner]
            cosine = pair_products(unit, candidate, unit[history], owner) * mask
            near = _attention(cosine * self.log_sharpness.exp(), mask)
            count = mask.sum(dim=1).clamp(min=1)
            signals += [
                (liked * cosine).sum(dim=1) / count,
                (near * liked).sum(dim=1),
                cosine.sum(dim=1) / count,
                (near * cosine).sum(dim=1),
            ]
        return torch.stack(signals, dim=1) @ self.weight


def _log_odds(liked: Tensor) -> Tensor:
    """[T] log((liked + 1) / (not liked + 1)): 0 for an empty history."""
    return torch.log1p((liked > 0).sum(dim=1).float()) - torch.log1p((liked < 0).sum(dim=1).float())


def _attention(logits: Tensor, mask: Tensor) -> Tensor:
    """[T, L] softmax over the events; all 0 for an empty history."""
    weights = logits.masked_fill(~mask, -1e9).softmax(dim=1)
    return weights * mask


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Click-through rate."""
    return [Ctr]

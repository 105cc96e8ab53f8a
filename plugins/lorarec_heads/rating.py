"""Rating: how many stars a user will give an item, from its text and from what the user gave similar items."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    Encoder,
    ItemEmbedding,
    PairHead,
    PairScore,
    RatingTask,
    Statistics,
    TaskHead,
    TextCosine,
    hookimpl,
    pair_products,
)

TEXT_BIAS_STEP = 0.1
"""Slows the text's bias down beside the few weights of the attention, whose learning rate it shares."""
SPREAD = 0.05
"""Length, about, of freshly drawn id vectors beside text vectors of length 1: the text speaks first."""
SHARPNESS, PRIOR_EVENTS, PRIOR_WEIGHT = 8.0, 5.0, 3.0
"""To start from: sharpness of attention, and how many events without residual the user's bias and the attention are
shrunk by."""
GRAM_LIMIT = 4096
"""Up to so many distinct items, all their products are computed once and looked up: 64 MiB at most."""


class Rating(RatingTask):
    """Regression on stars: mean + bias of the item + bias of the user + attention over what the user gave similar
    items. Nothing is learned of single users, so that new ones are answered from their history."""

    name = "rating"
    summary = "stars, by regression; new users and items are scored from text and history"
    paper = "Koren, Factorization Meets the Neighborhood, KDD 2008, sec. 2 and 3; similarities by learned vectors"

    class Config(RatingTask.Config):
        """Settings of the rating head."""

        renamed: ClassVar = {}  # runs with a former name are of another model, see below
        biases: bool = True
        """A weight for each item seen in training, added to its score."""
        factors: Annotated[int, Field(ge=0)] = 16
        """Weights for each item seen in training, beside its text, by which items are compared; 0 for
        none."""
        bias_penalty: Annotated[float, Field(ge=0)] = 0.02
        """L2 penalty on the item's bias for each of its ratings."""
        factor_penalty: Annotated[float, Field(ge=0)] = 0.5
        """L2 penalty on the item's factors for each of its ratings."""

        @model_validator(mode="before")
        @classmethod
        def _former_model(cls, values: Any) -> Any:
            if isinstance(values, dict) and "facts_per_example" in values:
                raise ValueError(
                    "facts_per_example is called targets_per_example now; a run that has it was trained by what is now "
                    "head 'rating_ridge' of the package lorarec-process"
                )
            return values

        @model_validator(mode="after")
        def _no_dead_option(self) -> Rating.Config:
            for penalty in self.idle({"bias_penalty": self.biases, "factor_penalty": self.factors > 0}):
                unused = "biases=False" if penalty == "bias_penalty" else "factors=0"
                raise ValueError(f"{penalty} would do nothing with {unused}: leave it out")
            return self

    config: Config

    def build(self, hidden_size: int, statistics: Statistics) -> RatingNetwork:
        """A network that starts as an average over the user's stars, by similarity of the untrained texts."""
        return RatingNetwork(self.config, hidden_size, statistics)


class RatingNetwork(PairHead):
    """mean + b_i + b_u + sum_j a_ij e_uj, in stars, over the user's history of j.

    b_i is a weight of the item and a linear function of its text; b_u the shrunk mean of the residuals of the history
    (Koren 2008, section 2.1); e_uj what is left of each. The attention a_ij = s_ij / (sum_j s_ij + a prior weight) has
    s_ij = exp(sharpness (cos_ij - 1)): weights by similarity as in neighborhood models, but of learned vectors, which
    are the text's, each dimension weighted, and the item's own factors beside it. With `encoding="joint"` a network
    over the text of history and candidate is added, and factors alone say how similar items are.
    """

    def __init__(self, config: Rating.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self._mean = statistics.label_mean
        self._range = (statistics.label_min, statistics.label_max)
        # Predictions are learned in units of this, so that they start right for stars of 1 to 5 and of 1 to 100.
        self._unit = max((statistics.label_max - statistics.label_min) / 4, 1e-6)
        separate, counts = config.encoding == "separate", statistics.item_counts
        self.bias = ItemEmbedding(counts, 1, 0.0) if config.biases else None
        self.text_bias = _zero_linear(hidden_size) if separate else None
        self.text = TextCosine(hidden_size) if separate else None
        self.factors = ItemEmbedding(counts, config.factors, SPREAD / config.factors**0.5) if config.factors else None
        self.pair = None if separate else PairScore(hidden_size)
        self.log_prior_events = nn.Parameter(torch.tensor(math.log(PRIOR_EVENTS)))
        self.attends = separate or config.factors > 0
        if self.attends:
            self.log_sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
            self.log_prior_weight = nn.Parameter(torch.tensor(math.log(PRIOR_WEIGHT)))
            self.gain = nn.Parameter(torch.ones(()))
        self.loss = config.loss.module(statistics)

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] of each rating."""
        losses: Tensor = self.loss(self._predicted(encode, batch), batch.tensors["labels"])
        return losses

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, within the range of the training labels."""
        return self.preference(encode, batch).clamp(*self._range)

    def preference(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, also beyond that range."""
        return self.loss.answer(self._predicted(encode, batch))

    def regularizer(self, batch: Batch) -> Tensor | None:
        """[] L2 on the weights of the ratings' items."""
        candidates = batch.tensors["items"][batch.tensors["candidate"]]
        penalty = torch.zeros((), device=candidates.device)
        if self.bias is not None:
            penalty = penalty + self._config.bias_penalty * batch.total(self.bias(candidates).square().sum(dim=1))
        if self.factors is not None:
            penalty = penalty + self._config.factor_penalty * batch.total(self.factors(candidates).square().sum(dim=1))
        return penalty * self._unit**2

    def _predicted(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] stars."""
        tensors = batch.tensors
        texts = encode.vectors("items" if self.pair is None else "pairs").float()
        # Under mixed precision small differences of stars would be lost to rounding.
        with torch.autocast(texts.device.type, enabled=False):
            per_item = texts if self.pair is None else None
            candidate, history, owner = (tensors[name] for name in ("candidate", "history", "owner"))
            bias = self._item_bias(tensors["items"], per_item)
            known = tensors["known"].float()
            residual = known * ((tensors["feedback"] - self._mean) / self._unit - bias[history])
            user = residual.sum(dim=1) / (known.sum(dim=1) + self.log_prior_events.exp())
            predicted = bias[candidate] + user[owner]
            if self.attends:
                similarity = _products(self._vectors(tensors["items"], per_item), candidate, history, owner)
                weight = known[owner] * (self.log_sharpness.exp() * (similarity - 1)).exp()
                left = weight * (residual - known * user[:, None])[owner]
                total = weight.sum(dim=1) + self.log_prior_weight.exp()
                predicted = predicted + self.gain * left.sum(dim=1) / total
            if self.pair is not None:
                predicted = predicted + self.pair(texts)[tensors["pair"]]
            return self._mean + self._unit * predicted

    def _item_bias(self, items: Tensor, texts: Tensor | None) -> Tensor:
        """[V] how much better than the mean each item is liked, in units; from the text alone if training
        never saw it."""
        bias = torch.zeros(len(items), device=items.device)
        if self.bias is not None:
            bias = bias + self.bias(items).squeeze(1)
        if self.text_bias is not None and texts is not None:
            normalized = nn.functional.layer_norm(texts, texts.shape[-1:])
            bias = bias + TEXT_BIAS_STEP * self.text_bias(normalized).squeeze(1)
        return bias

    def _vectors(self, items: Tensor, texts: Tensor | None) -> Tensor:
        """[V, d] vectors of length 1 by which items are compared; those of ids alone may be 0."""
        parts = []
        if self.text is not None and texts is not None:
            parts.append(self.text(texts))
        if self.factors is not None:
            parts.append(self.factors(items))
        return nn.functional.normalize(torch.cat(parts, dim=1), dim=1)


def _products(vectors: Tensor, candidate: Tensor, history: Tensor, owner: Tensor) -> Tensor:
    """[T, L] dot products of each target's item with those of its history; `vectors` [V, d]."""
    if len(vectors) > GRAM_LIMIT:
        return pair_products(vectors, candidate, vectors[history], owner)
    return (vectors @ vectors.T)[candidate[:, None], history[owner]]


def _zero_linear(size: int) -> nn.Linear:
    layer = nn.Linear(size, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Rating."""
    return [Rating]

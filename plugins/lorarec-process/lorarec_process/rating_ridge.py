"""RatingRidge: how many stars a user will give an item, from its text and the user's other ratings."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
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
    TextCosine,
)
from lorarec_process.user_ridge import kernel_ridge

TEXT_BIAS_STEP = 0.1
"""Scale of the text's bias, which slows it down relative to the kernel's weights at the same learning rate."""
SMALL = 0.01
"""Standard deviation of initial item factors: close to 0, so that the text dominates at first."""


class RatingRidge(RatingTask):
    """Regression on stars, by a ridge regression per user on the items they rated."""

    name = "rating_ridge"
    summary = "stars, by a ridge regression per user on the items rated"
    paper = "Ridge regression in each user: Rasmussen and Williams, Gaussian Processes for ML, 2006, ch. 2"

    class Config(RatingTask.Config):
        """Settings of the rating head."""

        biases: bool = True
        """Whether each training item has a learned bias, added to its score."""
        factors: Annotated[int, Field(ge=0)] = 16
        """Size of learned vectors of training items, by which items are compared in addition to their text; 0 for
        none."""
        bias_penalty: Annotated[float, Field(ge=0)] = 0.02
        """L2 penalty on the item's bias for each of its ratings."""
        factor_penalty: Annotated[float, Field(ge=0)] = 0.5
        """L2 penalty on the item's factors for each of its ratings."""

        @model_validator(mode="after")
        def _no_dead_option(self) -> RatingRidge.Config:
            for penalty in self.idle({"bias_penalty": self.biases, "factor_penalty": self.factors > 0}):
                unused = "biases=False" if penalty == "bias_penalty" else "factors=0"
                raise ValueError(f"{penalty} would do nothing with {unused}: leave it out")
            return self

    config: Config

    def build(self, hidden_size: int, statistics: Statistics) -> RatingRidgeNetwork:
        """A network that starts as the ridge regression of each user on the untrained texts."""
        return RatingRidgeNetwork(self.config, hidden_size, statistics)


class RatingRidgeNetwork(PairHead):
    """mean + item bias + the ridge regression on the user's other ratings, in stars."""

    def __init__(self, config: RatingRidge.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self._mean = statistics.label_mean
        self._range = (statistics.label_min, statistics.label_max)
        # Unit of the learned variances, so that their initial values suit stars of 1 to 5 and of 1 to 100.
        self._unit = max((statistics.label_max - statistics.label_min) / 4, 1e-6)
        separate = config.encoding == "separate"
        self.kernel = ItemKernel(hidden_size if separate else 0, config.factors, statistics.item_counts)
        self.bias = nn.Parameter(torch.zeros(len(statistics.item_counts))) if config.biases else None
        self.text_bias = _zero_linear(hidden_size) if separate else None
        self.pair = None if separate else PairScore(hidden_size)
        self.log_noise = nn.Parameter(torch.zeros(()))
        self.loss = config.loss.module(statistics)

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] the loss of each rating."""
        losses: Tensor = self.loss(self._stars(encode, batch), batch.tensors["labels"])
        return losses

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, within the range of the training labels."""
        return self.preference(encode, batch).clamp(*self._range)

    def preference(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, also beyond that range."""
        return self.loss.answer(self._stars(encode, batch))

    def _stars(self, encode: Encoder, batch: Batch) -> Tensor:
        tensors = batch.tensors
        texts = encode.vectors("items" if self.pair is None else "pairs").float()
        # Under mixed precision the ridge regression would be solved in half precision.
        with torch.autocast(texts.device.type, enabled=False):
            per_item = texts if self.pair is None else None
            features = self.kernel(tensors["items"], per_item)
            bias = self._bias(tensors["items"], per_item)
            candidate, history, owner = (tensors[name] for name in ("candidate", "history", "owner"))
            residual = (tensors["feedback"] - self._mean) / self._unit - bias[history]
            noise = self.log_noise.exp()
            expected = kernel_ridge(features, candidate, history, owner, residual, tensors["known"], noise)
            expected = expected + bias[candidate]
            if self.pair is not None:
                expected = expected + self.pair(texts)[tensors["pair"]]
            return self._mean + self._unit * expected

    def _bias(self, items: Tensor, texts: Tensor | None) -> Tensor:
        """[V] difference of each item from the mean, in units; from the text alone for a new item."""
        bias = torch.zeros(len(items), device=items.device)
        if self.bias is not None:
            bias = bias + self.bias[items] * self.kernel.seen[items]
        if self.text_bias is not None and texts is not None:
            normalized = nn.functional.layer_norm(texts, texts.shape[-1:])
            bias = bias + TEXT_BIAS_STEP * self.text_bias(normalized).squeeze(1)
        return bias

    def regularizer(self, batch: Batch) -> Tensor | None:
        """[] L2 on the weights of the ratings' items."""
        candidates = batch.tensors["items"][batch.tensors["candidate"]]
        penalty = torch.zeros((), device=candidates.device)
        if self.bias is not None:
            penalty = penalty + self._config.bias_penalty * batch.total(self.bias[candidates].square())
        if self.kernel.factors is not None:
            squares = self.kernel.factors(candidates).square().sum(dim=1)
            penalty = penalty + self._config.factor_penalty * batch.total(squares)
        return penalty * self._unit**2


class ItemKernel(nn.Module):
    """Feature vectors whose dot product is the similarity of two items: a constant + their texts + their ids.

    The constant is common to all items, so it is the user's bias. Texts are compared by the cosine of their vectors
    with weighted dimensions (automatic relevance determination; MacKay 1995). New items have no factors.
    """

    seen: Tensor

    def __init__(self, text_size: int, factors: int, item_counts: np.ndarray) -> None:
        """`text_size`: length of the text vectors, 0 for none; `factors`: factors per item, 0 for none."""
        super().__init__()
        self.register_buffer("seen", torch.from_numpy(np.asarray(item_counts) > 0).float(), persistent=True)
        self.log_constant = nn.Parameter(torch.tensor(math.log(0.2)))
        self.text: TextCosine | None = None
        if text_size:
            self.text = TextCosine(text_size)
            self.log_text = nn.Parameter(torch.tensor(math.log(0.2)))
        self.factors: ItemEmbedding | None = None
        if factors:
            self.factors = ItemEmbedding(item_counts, factors, SMALL)
            self.log_factors = nn.Parameter(torch.zeros(()))

    def forward(self, items: Tensor, texts: Tensor | None) -> Tensor:
        """[V, d] features of catalog rows [V], whose text vectors are [V, D]."""
        parts = [(0.5 * self.log_constant).exp().expand(len(items), 1)]
        if self.text is not None:
            assert texts is not None
            parts.append((0.5 * self.log_text).exp() * self.text(texts))
        if self.factors is not None:
            parts.append((0.5 * self.log_factors).exp() * self.factors(items))
        return torch.cat(parts, dim=1)


def _zero_linear(size: int) -> nn.Linear:
    layer = nn.Linear(size, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer

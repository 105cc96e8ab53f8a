"""Rating: how many stars a user will give an item, from its text and from what the user gave others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, model_validator
from torch import Tensor, nn

from lorarec.contracts import (
    Batch,
    Collation,
    Encoder,
    Histories,
    Interactions,
    Loss,
    PairHead,
    PairPredictor,
    PairScore,
    Part,
    Statistics,
    StrictConfig,
    Takes,
    TaskHead,
    event_examples,
    hookimpl,
    moved,
    named,
    pair_batch,
)
from lorarec_heads.item_kernel import ItemKernel
from lorarec_heads.kernel_ridge import kernel_ridge

TEXT_BIAS_STEP = 0.1
"""Slows the text's bias down beside the few weights of the kernel, whose learning rate it shares."""


class Rating(TaskHead):
    """Regression on stars. Each user's stars are explained by a ridge regression on the items they rated."""

    name = "rating"
    summary = "stars, by regression; new users and items are scored from text and history"
    paper = "Ridge regression in each user: Rasmussen and Williams, Gaussian Processes for ML, 2006, ch. 2"
    predictor = PairPredictor
    default_metrics = ("rmse", "mae")

    class Config(StrictConfig):
        """Settings of the rating head."""

        encoding: Literal["separate", "joint"] = "separate"
        """separate: each item's text is encoded once a batch and compared with those of the history. joint:
        the history and the candidate are read as one text."""
        max_history: Annotated[int, Field(ge=1)] = 50
        """The latest events of the user that are looked at."""
        training_history: Annotated[int | None, Field(ge=1)] = None
        """The latest events looked at in training, `max_history` by default. Fewer cost much less, and what
        is learnt (how alike items are) holds for histories of any length."""
        biases: bool = True
        """A weight for each item seen in training, added to its score."""
        factors: Annotated[int, Field(ge=0)] = 16
        """Weights for each item seen in training, beside its text, by which items are compared; 0 for
        none."""
        bias_penalty: Annotated[float, Field(ge=0)] = 0.02
        """L2 penalty on the item's bias for each of its ratings."""
        factor_penalty: Annotated[float, Field(ge=0)] = 0.5
        """L2 penalty on the item's factors for each of its ratings."""
        facts_per_example: Annotated[int, Field(ge=1)] = 1
        """Ratings of one user that are learnt from together: they share a history, so that fewer texts are
        encoded. `train.batch_size` counts these groups."""
        loss: Annotated[Loss, Takes("regression")] = named("mse")
        """How the stars expected are judged: mse, huber, ordinal, or any other loss of regression."""

        @model_validator(mode="before")
        @classmethod
        def _moved(cls, values: Any) -> Any:
            return moved(values, {"huber_delta": (1.0, "loss: {name: huber, delta: ...}")})

        @model_validator(mode="after")
        def _no_dead_option(self) -> Rating.Config:
            fields = type(self).model_fields
            # A default may be written out, as the recipe of a run folder does.
            for penalty, on in (("bias_penalty", "biases"), ("factor_penalty", "factors")):
                if not getattr(self, on) and getattr(self, penalty) != fields[penalty].default:
                    raise ValueError(f"{penalty} would do nothing with {on}={getattr(self, on)}: leave it out")
            return self

    config: Config

    def needs(self) -> frozenset[str]:
        """Ratings."""
        return frozenset({"rating"})

    def label(self) -> str:
        """The stars."""
        return "rating"

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError if all labels are the same number, or such as the loss cannot learn by."""
        super().check_labels(labels, rows)
        self.config.loss.check_labels(labels, rows)

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One rating a row; in training, `facts_per_example` ratings of one user a row."""
        group = self.config.facts_per_example if part == Part.TRAIN else 1
        return event_examples(interactions, part, self.label(), group)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """The batch of `pair_batch`, whose histories may be shorter in training."""
        limit = self.config.training_history if collation.training else None
        return pair_batch(rows, collation, limit or self.config.max_history, self.config.encoding)

    def build(self, hidden_size: int, statistics: Statistics) -> RatingNetwork:
        """A network that starts as the ridge regression of each user on the untrained texts."""
        return RatingNetwork(self.config, hidden_size, statistics)


class RatingNetwork(PairHead):
    """mean + item bias + what the user's other stars say, in stars."""

    def __init__(self, config: Rating.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self._mean = statistics.label_mean
        self._range = (statistics.label_min, statistics.label_max)
        # Variances are learnt in units of this, so that they start right for stars of 1 to 5 and of 1 to 100.
        self._unit = max((statistics.label_max - statistics.label_min) / 4, 1e-6)
        separate = config.encoding == "separate"
        self.kernel = ItemKernel(hidden_size if separate else 0, config.factors, statistics.item_counts)
        self.bias = nn.Parameter(torch.zeros(len(statistics.item_counts))) if config.biases else None
        self.text_bias = _zero_linear(hidden_size) if separate else None
        self.pair = None if separate else PairScore(hidden_size)
        self.log_noise = nn.Parameter(torch.zeros(()))
        self.loss = config.loss.build(statistics)

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] of each rating."""
        losses: Tensor = self.loss(self._found(encode, batch), batch.tensors["labels"])
        return losses

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, within the range of the training labels."""
        return self.loss.answer(self._found(encode, batch)).clamp(*self._range)

    def _found(self, encode: Encoder, batch: Batch) -> Tensor:
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
            found = kernel_ridge(features, candidate, history, owner, residual, tensors["known"], noise)
            found = found + bias[candidate]
            if self.pair is not None:
                found = found + self.pair(texts)[tensors["pair"]]
            return self._mean + self._unit * found

    def _bias(self, items: Tensor, texts: Tensor | None) -> Tensor:
        """[V] how much better than the mean each item is liked, in units; from the text alone if training
        never saw it."""
        bias = torch.zeros(len(items), device=items.device)
        if self.bias is not None:
            bias = bias + self.bias[items] * self.kernel.seen[items]
        if self.text_bias is not None and texts is not None:
            levelled = nn.functional.layer_norm(texts, texts.shape[-1:])
            bias = bias + TEXT_BIAS_STEP * self.text_bias(levelled).squeeze(1)
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


def _zero_linear(size: int) -> nn.Linear:
    layer = nn.Linear(size, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Rating."""
    return [Rating]

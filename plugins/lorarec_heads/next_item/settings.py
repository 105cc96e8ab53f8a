"""The settings of the next-item head, and which of them would do nothing beside others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lorarec.contracts import Loss, StrictConfig, Takes, moved, named


class NextItemSettings(StrictConfig):
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
    stride: Annotated[int, Field(ge=1)] | None = None
    """How many events of a training window are predicted, the latest ones; `max_history` by default. Fewer: each is
    predicted from `max_history - stride` events at least, where there are so many, and events are read repeatedly."""
    ids: bool = True
    """A vector for each item seen in training, added to that of its text."""
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the items whose own vector is left out of a step, so that text learns to stand alone."""
    vector_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the items' vectors, both as events read and as items scored."""
    rare_boost: float = 0.0
    """Added to the scores of items with at most 5 training events when items are ranked. Items that have just come
    are chosen more often afterwards than training, which saw little of them, can tell: choose it on validation."""
    feedback: bool = False
    """Tell the encoder which events were liked."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Scores before the items' biases are divided by it; learned by default, starting at 1."""
    loss: Annotated[Loss, Takes("softmax", "contrast")] = named("softmax")
    """softmax: over the whole catalog, which is encoded at each step. sampled_softmax, gbce, or another loss of
    contrast: over the target and `negatives` drawn items."""
    negatives: Annotated[int, Field(ge=1)] = 512
    """Items drawn for a whole step, with the losses that draw."""
    sampling: Literal["uniform", "popularity", "mixed", "mixed_in_batch"] = "uniform"
    """How they are drawn; gbce wants them uniform. popularity: by training events to the power 0.75. mixed: a third
    of them uniformly, the others by popularity. mixed_in_batch: uniformly, and the targets of the batch are each
    other's negatives too; k micro-batches (`train.accumulate`, processes) then have fewer than one large batch."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        now = {
            "calibration": (0.75, "loss: {name: gbce, calibration: ...}"),
            "label_smoothing": (0.0, "loss: {name: softmax, label_smoothing: ...}"),
        }
        return moved(values, now)

    @property
    def draws(self) -> bool:
        """Whether the loss tells the target from drawn items, not from the whole catalog."""
        return self.loss.shape == "contrast"

    @model_validator(mode="after")
    def _no_dead_option(self) -> NextItemSettings:
        own_encoder = self.encoder in ("transformer", "mean")
        idle = self.idle(
            {
                "layers": self.encoder == "transformer",
                "heads": self.encoder == "transformer",
                "dropout": self.encoder == "transformer",
                "stride": self.encoder != "backbone",
                "feedback": own_encoder,
                "id_dropout": self.ids,
                "negatives": self.draws,
                "sampling": self.draws and not self.loss.uniform_only,
            }
        )
        if idle:
            raise ValueError(
                f"{', '.join(idle)} would do nothing with encoder={self.encoder}, ids={self.ids}, "
                f"loss={self.loss.name}: leave out"
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> NextItemSettings:
        if self.encoder == "transformer" and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
        if self.stride is not None and self.stride > self.max_history:
            raise ValueError(f"stride {self.stride} is longer than max_history {self.max_history}: lower it")
        return self

    @property
    def window_targets(self) -> int:
        """How many events a training window has to predict, at most."""
        if self.encoder == "backbone":
            return 1
        return self.max_history if self.stride is None else self.stride

    @property
    def reads_views(self) -> bool:
        """Whether histories go through the backbone as views of their own."""
        return self.encoder.startswith("backbone")

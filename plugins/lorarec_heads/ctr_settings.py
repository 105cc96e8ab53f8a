"""The settings of the click-through-rate head, and which of them would do nothing beside others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lorarec.contracts import Loss, StrictConfig, Takes, moved, named


class CtrSettings(StrictConfig):
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

    history_model: Literal["signals", "ridge"] = "signals"
    """signals: a weighted sum of what needs no training. ridge: quality of the item + the user's own taste, solved
    for in closed form from the history; `biases` then says whether items have a quality of their own."""
    factors: Annotated[int, Field(ge=0)] = 0
    """Weights for each item with training rows, beside its text, by which `ridge` compares items; 0 for none. The
    others are compared by what else is known of them."""
    item_columns: tuple[str, ...] = ()
    """Columns of the item table (numbers, words, lists of words) by which `ridge` compares items, beside their
    text."""
    history_targets: bool = False
    """Where rows bring labelled histories along, learn from those events too, each with what came before it."""
    loss: Annotated[Loss, Takes("binary", "ranking")] = named("bce")
    """bce, or another binary loss: of each click. ranking, or another loss of that shape: of which of a user's facts is
    the liked one, beside `rivals` that were not; probabilities are then right up to a shift."""
    rivals: Annotated[int, Field(ge=1)] = 1
    """How many facts that were not liked stand beside each one that was, with losses of ranking; 1 compares pairs."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return moved(values, {"label_smoothing": (0.0, "loss: {name: bce, label_smoothing: ...}")})

    @property
    def compares(self) -> bool:
        """Whether the loss compares facts with one another."""
        return self.loss.shape == "ranking"

    @model_validator(mode="after")
    def _no_dead_option(self) -> CtrSettings:
        # A default may be written out, as the recipe of a run folder does.
        penalty = self.bias_penalty != type(self).model_fields["bias_penalty"].default
        if penalty and not self.biases:
            raise ValueError("bias_penalty would do nothing with biases=False: leave it out")
        if penalty and self.history_model == "ridge":
            raise ValueError("bias_penalty would do nothing with history_model=ridge, which has a prior: leave it out")
        for name in ("item_columns", "factors"):
            if getattr(self, name) and self.history_model != "ridge":
                raise ValueError(f"{name} would do nothing without history_model=ridge")
        if self.history_targets and self.negatives:
            raise ValueError("history_targets reads labels of histories, and negatives is for data without any")
        if not self.compares and self.rivals != 1:
            raise ValueError(f"rivals would do nothing with loss={self.loss.name}")
        if self.negatives and self.rivals > self.negatives:
            raise ValueError(f"rivals={self.rivals} would repeat the {self.negatives} that `negatives` draws: lower it")
        return self

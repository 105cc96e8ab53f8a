"""Click-through rate: the probability that a user will like, click or choose an item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from datasets import Dataset
from pydantic import Field, model_validator

from lorarec.contracts import ClickTask, Histories, Interactions, Part, Statistics, TaskHead, hookimpl
from lorarec_heads.ctr_network import CtrNetwork
from lorarec_heads.item_quality import with_shares


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

        @model_validator(mode="after")
        def _no_dead_weights(self) -> Ctr.Config:
            # A default may be written out, as the recipe of a run folder does.
            penalty = self.bias_penalty != type(self).model_fields["bias_penalty"].default
            if penalty and not self.biases:
                raise ValueError("bias_penalty would do nothing with biases=False: leave it out")
            if penalty and self.history_model == "ridge":
                raise ValueError("bias_penalty would do nothing with history_model=ridge, which has a prior")
            for name in ("item_columns", "factors"):
                if getattr(self, name) and self.history_model != "ridge":
                    raise ValueError(f"{name} would do nothing without history_model=ridge")
            return self

    config: Config

    def item_columns(self) -> tuple[str, ...]:
        """Those of the recipe."""
        return self.config.item_columns

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """Those of every click-through-rate head; with `ridge`, in training, also how much of the prior each bears."""
        made = super().examples(interactions, histories, part)
        ridge = self.config.history_model == "ridge" and part == Part.TRAIN and len(made)
        return with_shares(made, interactions) if ridge else made

    def build(self, hidden_size: int, statistics: Statistics) -> CtrNetwork:
        """A network that starts from the signals of the history."""
        return CtrNetwork(self.config, hidden_size, statistics)


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Click-through rate."""
    return [Ctr]

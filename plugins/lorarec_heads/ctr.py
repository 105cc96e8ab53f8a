"""Click-through rate: the probability that a user will like, click or choose an item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, model_validator

from lorarec.contracts import ClickTask, Statistics, TaskHead, hookimpl, moved
from lorarec_heads.ctr_network import CtrNetwork


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

        @model_validator(mode="before")
        @classmethod
        def _ridge_moved(cls, values: Any) -> Any:
            there = "a setting of head 'ctr_ridge' of the package lorarec-process"
            ridge = "head: {name: ctr_ridge, ...}"
            now = {"history_model": ("signals", ridge), "factors": (0, ridge), "item_columns": ([], ridge)}
            return moved(values, now, where=there)

        @model_validator(mode="after")
        def _no_dead_penalty(self) -> Ctr.Config:
            # A default may be written out, as the recipe of a run folder does.
            penalty = self.bias_penalty != type(self).model_fields["bias_penalty"].default
            if penalty and not self.biases:
                raise ValueError("bias_penalty would do nothing with biases=False: leave it out")
            return self

    config: Config

    def build(self, hidden_size: int, statistics: Statistics) -> CtrNetwork:
        """A network that starts from the signals of the history."""
        return CtrNetwork(self.config, hidden_size, statistics)


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Click-through rate."""
    return [Ctr]

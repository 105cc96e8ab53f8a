"""Ranking: which of a few was the better one."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from lorarec.contracts import Loss, LossFunction, Statistics, hookimpl


class Ranking(Loss):
    """A softmax over what was liked and others that were not; with one other it is BPR. What shifts all logits of a
    contest has no gradient: probabilities are right up to a shift."""

    name = "ranking"
    summary = "which of a user's facts is the liked one; BPR with one rival"
    paper = "Rendle et al., BPR, UAI 2009"
    shape = "ranking"

    def build(self, statistics: Statistics) -> LossFunction:
        """Without weights."""
        return FirstOfSeveral()


class FirstOfSeveral(LossFunction):
    """-log softmax(logits)[0]."""

    def forward(self, logits: Tensor) -> Tensor:
        """[T] of logits [T, 1 + R], the better one's first."""
        losses: Tensor = -logits.log_softmax(dim=1)[:, 0]
        return losses


@hookimpl
def lorarec_losses() -> Iterable[type[Loss]]:
    """Ranking."""
    return [Ranking]

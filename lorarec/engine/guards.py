"""Guards: warnings about silent failures of training, each with its most likely cause."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from lorarec.contracts import Callback, TrainState
from lorarec.errors import TrainingError
from lorarec.evaluation.evaluate import Evaluation

NO_LOSS = 1e-3
"""Share of the first step's loss below which there is nothing left to learn. A share, since losses differ in scale:
the mean over a target and its negatives (gbce) is small from the start."""
CONSTANT = 1e-4
"""Share of the vectors' squared length, or of the scores' range, below which they count as constant."""
CHANCE = 0.02
"""Distance of an AUC from one half below which it is no better than chance."""
STEPS = 10
"""Optimizer steps after which each weight should have had a gradient. Zeros at first are normal: LoRA's A has none
until B has left zero, B none until a head that starts at zero has, and the first step of a warm-up moves no weight."""

_log = logging.getLogger(__name__)


class Guards(Callback):
    """Warns once of each kind of silent failure: constant scores, collapsed item vectors, vanished negatives, an AUC
    near one half after the first epoch, and weights whose gradient stays zero. Raises TrainingError if no weight of the
    adapter trains. (Weights without any gradient stop a run at its first step.)"""

    name = "guards"
    summary = "warn of failures that raise no error"

    def __init__(self, has_negatives: bool, moved: Callable[[], dict[str, bool]] = dict) -> None:
        """`has_negatives`: whether the loss distinguishes positives from negatives. `moved`: by name, whether each of
        the adapter's weights has had a gradient other than 0, see `moved_weights`."""
        super().__init__(self.Config())
        self._has_negatives = has_negatives
        self._moved = moved
        self._latest: Evaluation | None = None
        self.warnings: dict[str, str] = {}
        """Each warning, by kind."""
        self._first: float | None = None
        self._loss: float | None = None

    def on_optimizer_step(self, state: TrainState) -> None:
        """Raises TrainingError, naming a weight, if no weight of the adapter has trained in the first STEPS steps."""
        self._loss = state.logs.get("loss", self._loss)
        if self._first is None:
            self._first = self._loss
        if state.step == STEPS:
            self._check_weights(self._moved())

    def _check_weights(self, moved: dict[str, bool]) -> None:
        dead = [name for name, has_moved in moved.items() if not has_moved]
        if not dead:
            return
        if len(dead) == len(moved):
            raise TrainingError(
                f"None of the adapter's {len(dead)} weights has had a gradient other than 0 in the first {STEPS} "
                f"steps, for instance '{dead[0]}': no output of the model depends on the adapter. Choose "
                "another adapter, or other targets or layers for it, or a head that reads the backbone's vectors."
            )
        self._warn(
            "weights without gradient",
            f"{len(dead)} of the adapter's {len(moved)} weights have had no gradient other than 0 in the first {STEPS} "
            f"steps, for instance '{dead[0]}': no output depends on them. Leave out their targets or layers",
        )

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Check one evaluation on validation, and warn of constant scores and collapsed item vectors."""
        self._latest, scored = evaluation, evaluation.scored
        if scored is not None and constant(scored.scores):
            self._warn(
                "constant scores",
                f"the model gives all {len(scored.scores):,} rows of validation the same score. Likely the learning "
                "rate is so high that it has broken the weights (lower train.learning_rate), or so low that nothing "
                "was learned, or the histories and texts of all rows are the same or empty",
            )
        if evaluation.vectors is not None and collapsed(evaluation.vectors):
            self._warn(
                "collapsed item vectors",
                "the vectors of all items point in the same direction. Likely the learning rate is too high (lower "
                "train.learning_rate), or all items have the same text (see data.item_text)",
            )

    def on_epoch_end(self, state: TrainState) -> None:
        if not self._has_negatives:
            return
        latest = self._latest
        if latest is not None and latest.scored is not None:
            self._check_auc(auc(*latest.scored), state.epoch)
        first, last = self._first, self._loss
        if first is not None and last is not None and last <= NO_LOSS * first:
            self._warn(
                "vanished negatives",
                f"the training loss is {last:.1e} after epoch {state.epoch}: the negatives "
                "are too easy. Likely they are masked, repeat the target, or can be recognized by their text alone "
                "(raise head.negatives, check for duplicate items), or the target is in its own history",
            )

    def _check_auc(self, value: float, epoch: int) -> None:
        if abs(value - 0.5) < CHANCE:
            self._warn(
                "AUC near one half",
                f"AUC on validation is {value:.3f} after epoch {epoch}: the model is no better than chance. Likely the "
                "learning rate is too low or far too high, the labels do not depend on text and history, or "
                "histories are empty (see the data report of `lorarec check`)",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self.warnings:
            self.warnings[kind] = message
            _log.warning("%s%s: %s.", kind[0].upper(), kind[1:], message)

    def state_dict(self) -> dict[str, Any]:
        return {"warnings": dict(self.warnings), "first_loss": self._first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.warnings.update(state["warnings"])
        self._first = state.get("first_loss")


def moved_weights(model: nn.Module, optimizer: Optimizer, accelerator: Accelerator) -> dict[str, bool]:
    """By name, whether AdamW's running mean of the gradient of each trainable weight of the network differs from 0.

    AdamW keeps the mean anyway, so that no step has to wait for the device.
    """
    names, flags = [], []
    for name, weight in model.named_parameters():
        mean = optimizer.state.get(weight, {}).get("exp_avg")
        # None: another optimizer's state, or no step was taken at all (fp16 skips those that overflow).
        if name.startswith("network.") and weight.requires_grad and mean is not None:
            names.append(name.removeprefix("network."))
            flags.append((mean.to_local() if hasattr(mean, "to_local") else mean).any())
    if not flags:
        return {}
    moved = accelerator.reduce(torch.stack(flags).long(), reduction="sum")  # a process may hold a shard
    return dict(zip(names, (moved > 0).tolist(), strict=True))


def constant(scores: np.ndarray) -> bool:
    """Whether scores [n] are all the same up to rounding; never where one is NaN or infinite."""
    if len(scores) < 2 or not np.isfinite(scores).all():
        return False
    return bool(np.ptp(scores) <= CONSTANT * max(float(np.abs(scores).max()), 1e-12))


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve of scores [n] for labels [n] of 0 and 1; NaN where it is not defined."""
    from sklearn.metrics import roc_auc_score

    if not np.isfinite(scores).all() or len(np.unique(labels > 0.5)) < 2:
        return float("nan")
    return float(roc_auc_score(labels > 0.5, scores))


def collapsed(vectors: Tensor) -> bool:
    """Whether vectors [N, d] all point in nearly the same direction: their variance around the mean is close to 0."""
    if len(vectors) < 2:
        return False
    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    return bool((unit - unit.mean(dim=0)).square().sum(dim=1).mean() < CONSTANT)

"""What every loss and every training step must do."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import SHAPES, Batch, Loss, Statistics, TrainingStep
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.tiny import made

TARGETS, ITEMS, DRAWN = 5, 12, 4
COUNTS = (2, 3, 1)
"""Targets of the micro-batches."""


def check_loss(loss_class: type[Loss], *given: Tensor, **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the loss breaks.

    It is picklable; it gives each target one finite float32 loss, whatever the other targets are; the gradient reaches
    what it is given and every weight of its own; what is said of right answers costs less than the same of wrong ones.
    `given`: tensors [T, ...] to call it with, for a shape of your own; `options` are settings as in a recipe.
    """
    check_plugin(loss_class)
    loss = made(loss_class, **options)
    assert type(pickle.loads(pickle.dumps(loss))) is loss_class, "a loss must be picklable: heads carry it"
    assert given or loss.shape in SHAPES, f"shape '{loss.shape}' is none of {', '.join(SHAPES)}: give tensors for it"
    torch.manual_seed(0)
    function = loss.build(_statistics())
    said = [t.clone().requires_grad_(t.is_floating_point()) for t in given or _examples(loss.shape)]
    losses = function(*said)
    assert losses.shape == (len(said[0]),), f"one loss a target, [{len(said[0])}], not {tuple(losses.shape)}"
    assert losses.dtype == torch.float32 and losses.isfinite().all(), "losses must be finite and float32"
    torch.autograd.backward(losses.sum())
    assert said[0].grad is not None and said[0].grad.any(), "the gradient does not reach what the model said"
    dead = [name for name, p in function.named_parameters() if p.grad is None]
    assert not dead, f"weights of the loss get no gradient: {dead}"
    two = function(*(t[:2] if len(t) == len(said[0]) else t for t in said))
    assert torch.allclose(two, losses[:2], rtol=1e-4), "a target's loss must not depend on the other targets"
    if loss.shape in SHAPES and not given:
        _check_direction(loss.shape, function)
    if loss.shape == "regression":
        answers = function.answer(said[0])
        assert answers.shape == said[0].shape and answers.isfinite().all(), "one finite answer a prediction"


def _check_direction(shape: str, function: Any) -> None:
    right, wrong = _good_and_bad(shape)
    better, worse = (float(function(*given).sum().detach()) for given in (right, wrong))
    assert better < worse, f"right answers cost {better:g}, wrong ones {worse:g}: they must cost less"


def _examples(shape: str) -> list[Tensor]:
    labels = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    targets = torch.arange(TARGETS)
    hit = torch.zeros(TARGETS, DRAWN, dtype=torch.bool)
    hit[1, 2] = True
    return {
        "regression": [labels + torch.randn(TARGETS), labels],
        "binary": [torch.randn(TARGETS), (labels > 2).float()],
        "ranking": [torch.randn(TARGETS, 3)],
        "softmax": [torch.randn(TARGETS, ITEMS), targets],
        "contrast": [torch.randn(TARGETS), torch.randn(TARGETS, DRAWN), hit, torch.rand(DRAWN) + 0.1],
    }[shape]


def _good_and_bad(shape: str) -> tuple[list[Tensor], list[Tensor]]:
    """What a loss of the shape is given where the model is right, and where it is wrong."""
    said, *rest = _examples(shape)
    if shape == "regression":
        return [rest[0], *rest], [6 - rest[0], *rest]
    if shape == "binary":
        return [4 * rest[0] - 2, *rest], [2 - 4 * rest[0], *rest]
    if shape == "contrast":
        low, high = torch.full_like(said, -3.0), torch.full_like(said, 3.0)
        return [high, *rest], [low, *rest]
    best = torch.zeros_like(said).scatter_(1, rest[0][:, None] if rest else torch.zeros(TARGETS, 1).long(), 3.0)
    return [best, *rest], [-best, *rest]


def _statistics() -> Statistics:
    counts = np.ones(ITEMS, np.int64)
    return Statistics(counts, counts, 3.0, 1.0, 5.0, 3.0, label_levels=(1.0, 2.0, 3.0, 4.0, 5.0))


def check_training_step(step_class: type[TrainingStep], **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the training step breaks.

    It leaves a finite gradient in every parameter, and the weights as they were; it gives back the step's loss as one
    number; its last backward is synchronized; taken again, it does the same to the bit. `options` are settings as in a
    recipe.
    """
    check_plugin(step_class)
    plugin = step_class(step_class.Config.model_validate(options))
    once, again = _Step(), _Step()
    before = [parameter.detach().clone() for parameter in once.parameters]
    plain = torch.stack([once.loss(batch).detach() for batch in once.batches]).sum()
    loss = plugin.gradients(once)
    assert loss.shape == () and not loss.requires_grad, "gradients must give back the loss: one number, detached"
    torch.testing.assert_close(
        loss, plain, msg=f"the loss must be that of the weights as they are: {plain}, not {loss}"
    )
    missing = [number for number, p in enumerate(once.parameters) if p.grad is None or not p.grad.isfinite().all()]
    assert not missing, f"parameters {missing} have no finite gradient after the step"
    kept = all(torch.equal(p, old) for p, old in zip(once.parameters, before, strict=True))
    assert kept, "a step must leave the weights as they were: it is the optimizer that moves them"
    assert once.synchronized_last, "the last backward must be synchronized, or processes would drift apart"
    plugin.gradients(again)
    same = all(torch.equal(p.grad, q.grad) for p, q in zip(once.parameters, again.parameters, strict=True))  # type: ignore[arg-type]
    assert same, "the same step taken again must leave the same gradients: draw from `step.generator`"


class _Step:
    """Three micro-batches of a small regression on one process."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._model = nn.Linear(4, 1)
        with torch.no_grad():
            for parameter in self._model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.batches = [
            Batch(torch.arange(n), n, tensors={"x": torch.randn(n, 4, generator=generator)}) for n in COUNTS
        ]
        self.parameters = list(self._model.parameters())
        self.generator = torch.Generator().manual_seed(1)
        self.weight = float(sum(COUNTS))
        self.synchronized_last = False
        self._on = True

    def loss(self, batch: Batch) -> Tensor:
        x = batch.tensors["x"]
        return batch.total((self._model(x).squeeze(1) - x.sum(dim=1)).square()) / self.weight

    def backward(self, loss: Tensor) -> None:
        self.synchronized_last = self._on
        torch.autograd.backward(loss)

    @contextmanager
    def synchronized(self, on: bool) -> Iterator[None]:
        before, self._on = self._on, on
        yield
        self._on = before

    def clear(self) -> None:
        self._model.zero_grad()

"""check_training_step: what every training step must do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lorarec.contracts import Batch, TrainingStep
from lorarec.testing.plugin_laws import check_plugin

COUNTS = (2, 3, 1)
"""Targets of the micro-batches."""


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

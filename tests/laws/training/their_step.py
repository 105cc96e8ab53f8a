"""A third-party training step in one file: sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lorarec.contracts import StepContext, StrictConfig, TrainingStep, hookimpl


class Sharpness(TrainingStep):
    """The gradient at the point of largest loss nearby, a step of length `rho` along the gradient."""

    name = "sharpness"
    summary = "gradients at the point of largest loss nearby"
    paper = "Foret et al., Sharpness-Aware Minimization, ICLR 2021"

    class Config(StrictConfig):
        """Settings."""

        rho: Annotated[float, Field(gt=0)] = 0.05
        """Length of the step along the gradient."""

    config: Config

    def gradients(self, step: StepContext) -> Tensor:
        loss = self._round(step)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in step.parameters]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm().clamp(min=1e-12)
        before = [p.detach().clone() for p in step.parameters]
        with torch.no_grad():
            for parameter, gradient in zip(step.parameters, gradients, strict=True):
                parameter += self.config.rho * gradient / norm
        step.clear()
        self._round(step)
        with torch.no_grad():
            for parameter, value in zip(step.parameters, before, strict=True):
                parameter.copy_(value)
        return loss

    def _round(self, step: StepContext) -> Tensor:
        losses = []
        for number, batch in enumerate(step.batches, start=1):
            with step.synchronized(number == len(step.batches)):
                loss = step.loss(batch)
                step.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()


@hookimpl
def lorarec_steps() -> Iterable[type[TrainingStep]]:
    return [Sharpness]

"""TrainingStep: what one optimizer step does with its micro-batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from lorarec.contracts.batch import Batch
from lorarec.contracts.plugin import Plugin


class StepContext(Protocol):
    """What a training step is handed: the step's micro-batches, and what it may do with them."""

    @property
    def batches(self) -> Sequence[Batch]:
        """The micro-batches of this process, on its device; never empty."""

    @property
    def weight(self) -> float:
        """What the targets of all micro-batches of all processes weigh together; each `loss` is divided by it."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """What trains. Their `grad` is None, or zero, when the step begins."""

    @property
    def generator(self) -> torch.Generator:
        """Draws on the CPU, the same numbers on every process and whenever this step is taken again. What is drawn for
        one process alone, such as dropout, may come from torch's global generator, which the engine has seeded."""

    def loss(self, batch: Batch) -> Tensor:
        """[] the micro-batch's share of the step's loss, by a forward: all shares of all processes add up to it."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those that are there; scaled where fp16 asks for it."""

    def synchronized(self, on: bool) -> AbstractContextManager[None]:
        """Whether processes exchange the gradients of the forwards and backwards inside; on for the last one."""

    def clear(self) -> None:
        """Forget the gradients."""


class TrainingStep(Plugin):
    """Leaves the gradients that the optimizer moves by. Clipping, the update and the schedule come after it.

    A step holds no state of its own from one step to the next: a resumed run takes each step as it would have been.
    """

    @abstractmethod
    def gradients(self, step: StepContext) -> Tensor:
        """[] this process's share of the step's loss, without gradient, once each parameter's `grad` is there.

        The weights themselves must be as they were. On every process, the last backward of each round of gradients is
        `synchronized`, and each process makes equally many such.
        """

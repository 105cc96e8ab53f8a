"""Watch: how long the parts of each training epoch of a lorarec run take.

The run is a complete one of `lorarec.train`, whose `Fit` gets timers. A step lasts from the moment the loop requests
the step's batches to the moment its gradients are cleared: evaluation and checkpoints, which come between two steps,
are not counted; the warm-up of the first step is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch

from lorarec.engine.fit import Fit
from lorarec.engine.loader import StepBatches
from lorarec.pipeline.build_fit import build_fit
from lorarec.pipeline.build_model import with_layer_cache

WORK = ("forward", "backward", "optimizer")
"""The parts that count as training; clipping, waiting for batches and everything else are outside them."""


@dataclass
class Epoch:
    """Times and counts of one epoch."""

    number: int
    seconds: float = 0.0
    steps: int = 0
    rows: int = 0
    targets: int = 0
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*WORK, "clipping", "batches"), 0.0))

    def outside(self) -> float:
        """The share of the time spent outside forward, backward and optimizer."""
        return 1 - sum(self.parts[part] for part in WORK) / self.seconds


class Watch:
    """Times of the run that `lorarec.train` does within `with Watch.on() as watch`."""

    def __init__(self, at_end: Callable[[Fit, Watch], None]) -> None:
        self.epochs: list[Epoch] = []
        self.cache_seconds = 0.0
        """Seconds of filling the cache of frozen layers before the first epoch, close to 0 if there is none."""
        self._at_end = at_end
        self._since = 0.0
        self._forward_since = 0.0
        self._over = False

    @classmethod
    @contextmanager
    def on(cls, at_end: Callable[[Fit, Watch], None]) -> Iterator[Watch]:
        """Watch the run within; `at_end` is called after its last step."""
        watch = cls(at_end)

        def watched(*given: Any, **named: Any) -> Fit:
            fit = build_fit(*given, **named)
            watch._attach(fit)
            return fit

        def filling(*given: Any) -> Any:
            started = time.perf_counter()
            run_data = with_layer_cache(*given)
            watch.cache_seconds = time.perf_counter() - started
            return run_data

        module = "lorarec.pipeline.train"
        with patch(f"{module}.build_fit", watched), patch(f"{module}.with_layer_cache", filling):
            yield watch

    @property
    def totals(self) -> Epoch:
        """All epochs as one."""
        return self.sum_of(self.epochs)

    def sum_of(self, epochs: list[Epoch]) -> Epoch:
        """Several epochs as one."""
        total = Epoch(-1)
        for epoch in epochs:
            total.seconds += epoch.seconds
            total.steps += epoch.steps
            total.rows += epoch.rows
            total.targets += epoch.targets
            for part, seconds in epoch.parts.items():
                total.parts[part] += seconds
        return total

    def _attach(self, fit: Fit) -> None:
        loader, run = fit.loader, fit.run
        fit.loader = _WatchedLoader(loader, self)  # type: ignore[assignment]  # differs only in `windows`
        fit.model.register_forward_pre_hook(self._before_forward)
        fit.model.register_forward_hook(self._after_forward)
        accelerator, optimizer = fit.accelerator, fit.optimizer_step.optimizer
        accelerator.backward = self._timed("backward", accelerator.backward)
        accelerator.clip_grad_norm_ = self._timed("clipping", accelerator.clip_grad_norm_)
        optimizer.step = self._timed("optimizer", optimizer.step)  # type: ignore[method-assign]
        optimizer.zero_grad = self._ending_a_step(optimizer.zero_grad)  # type: ignore[method-assign]

        def watched_run() -> Any:
            state = run()
            fit.loader = loader
            self._over = True  # later forward and backward passes are not training
            self._at_end(fit, self)
            return state

        fit.run = watched_run  # type: ignore[method-assign]

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = call(*given, **named)
            if not self._over:
                self.epochs[-1].parts[part] += time.perf_counter() - started
            return result

        return timed

    def _before_forward(self, module: torch.nn.Module, _given: Any) -> None:
        self._forward_since = time.perf_counter()

    def _after_forward(self, module: torch.nn.Module, _given: Any, _output: Any) -> None:
        if module.training and not self._over:  # evaluation uses the same module
            self.epochs[-1].parts["forward"] += time.perf_counter() - self._forward_since

    def _ending_a_step(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def ending(*given: Any, **named: Any) -> Any:
            result = call(*given, **named)
            if self._over:
                return result
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # the step ends when the GPU is done
            self.epochs[-1].seconds += time.perf_counter() - self._since
            self.epochs[-1].steps += 1
            return result

        return ending

    def steps(self, windows: Iterator[StepBatches], number: int) -> Iterator[StepBatches]:
        """The epoch's steps, each timed from its request."""
        self.epochs.append(Epoch(number))
        while True:
            self._since = time.perf_counter()
            window = next(windows, None)
            if window is None:
                return
            epoch = self.epochs[-1]
            epoch.parts["batches"] += time.perf_counter() - self._since
            epoch.rows += sum(len(batch.rows) for batch in window.batches)
            epoch.targets += window.count
            yield window


class _WatchedLoader:
    """A loader whose steps are watched; all other attributes are the loader's."""

    def __init__(self, loader: Any, watch: Watch) -> None:
        self._loader = loader
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def steps(self, epoch: int, start: int = 0) -> Iterator[StepBatches]:
        """As the loader's."""
        return self._watch.steps(self._loader.steps(epoch, start), epoch)

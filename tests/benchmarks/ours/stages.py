"""Seconds of each stage of preparing data in a run of `lorarec.train`, measured by patching its functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from lorarec.data import prepare as preparing
from lorarec.data.history import Histories
from lorarec.pipeline import assemble
from lorarec.registry.resolve import ResolvedRecipe

STAGES = ("read", "number", "split", "histories", "report", "tokenize", "examples")
"""In order of time; `rest` is the remaining time."""
PATCHED: list[tuple[Any, str, str]] = [
    (preparing, "number_tables", "number"),
    (preparing, "split", "split"),
    (preparing, "statistics_of", "report"),
    (preparing, "report_of", "report"),
    (Histories, "of", "histories"),
    (assemble, "_examples", "examples"),
]
"""The owner of a function, its name there, and the stage that it is."""


@contextmanager
def timed_stages() -> Iterator[dict[str, float]]:
    """Within, `lorarec.train` adds the seconds of each stage, and of `all` together, to the dictionary."""
    seconds: dict[str, float] = dict.fromkeys((*STAGES, "all"), 0.0)

    def timed(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                seconds[stage] += time.perf_counter() - started

        return timing

    def read(resolved: ResolvedRecipe) -> Any:
        source, head = resolved.source, resolved.head
        with (
            patch.object(source, "load", timed("read", source.load)),
            patch.object(head, "examples", timed("examples", head.examples)),
        ):
            return timed("all", assemble.read_data)(resolved)

    def gathered(resolved: ResolvedRecipe, data: assemble.ReadData) -> Any:
        backbone = resolved.backbone
        with patch.object(backbone, "featurizer", timed("tokenize", backbone.featurizer)):
            return timed("all", assemble.gather_run_data)(resolved, data)

    with ExitStack() as stack:
        for module, name, stage in PATCHED:
            stack.enter_context(patch.object(module, name, timed(stage, getattr(module, name))))
        stack.enter_context(patch("lorarec.pipeline.train.read_data", read))
        stack.enter_context(patch("lorarec.pipeline.train.gather_run_data", gathered))
        yield seconds
    seconds["rest"] = seconds["all"] - sum(seconds[stage] for stage in STAGES)

"""Metrics by label: `rmse`, or `ndcg@10` where a metric looks at the first k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from lorarec.contracts.metric import Metric
from lorarec.contracts.task_head import TaskHead
from lorarec.errors import RecipeError
from lorarec.registry.discover import Provider
from lorarec.registry.registry import Registry


@dataclass(frozen=True)
class ResolvedMetric:
    """A metric as a recipe asks for it."""

    label: str
    """What metrics.json calls it: "rmse", "ndcg@10"."""
    cls: type[Metric]
    k: int | None


def resolve_metric(label: str, head: TaskHead | None, registry: Registry) -> tuple[ResolvedMetric, Provider]:
    """The metric of a label, and who offers it; `head` is None where the recipe's head is itself in doubt.

    Raises PluginError for an unknown name, RecipeError for a missing or extra @k and for a metric that reads
    what this head does not give.
    """
    name, at, cutoff = label.partition("@")
    cls = _metric(registry, name)
    if head is not None and not _fits(cls, head):
        known = {other: _metric(registry, other) for other in registry.names("metric")}
        fitting = [f"{other}@10" if one.takes_k else other for other, one in known.items() if _fits(one, head)]
        raise RecipeError(
            f"metric '{name}' needs {_needs(cls)}, which head '{head.name}' does not give. "
            f"Metrics for it: {', '.join(fitting) or 'none'}."
        )
    if not cls.takes_k:
        if at:
            raise RecipeError(f"metric '{name}' takes no @k; write '{name}'.")
        return ResolvedMetric(name, cls, None), registry.provider("metric", name)
    if not (cutoff.isascii() and cutoff.isdigit() and int(cutoff) > 0):
        raise RecipeError(f"metric '{name}' needs a whole number after @, such as '{name}@10', not '{label}'.")
    return ResolvedMetric(f"{name}@{int(cutoff)}", cls, int(cutoff)), registry.provider("metric", name)


def _metric(registry: Registry, name: str) -> type[Metric]:
    return cast(type[Metric], registry.find("metric", name))


def _fits(cls: type[Metric], head: TaskHead) -> bool:
    return cls.reads in head.predictor.reads and cls.label in (None, head.label())


def _needs(cls: type[Metric]) -> str:
    return f"{cls.reads} labelled by '{cls.label}'" if cls.label else cls.reads

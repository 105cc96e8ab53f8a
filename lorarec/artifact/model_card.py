"""The model card: a run folder's README.md, whose test metrics the Hugging Face Hub reads and shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from lorarec.evaluation.protocol import protocol_lines

USE = """```python
import lorarec

recommender = lorarec.load("path/to/this/folder")
recommender.recommend(histories=[["item-id", "item-id"]], k=10)
```"""


def model_card(
    name: str,
    parts: Mapping[str, str],
    dataset: str,
    data_lines: Sequence[str],
    metrics: Mapping[str, Any],
) -> ModelCard:
    """Data, split, adapter, share of weights trained, and metrics next to the baselines.

    `parts`: the plugins of the recipe by kind; `dataset`: the name of its source; `metrics`: as in metrics.json.
    """
    header = ModelCardData(
        model_name=name,
        library_name="lorarec",
        tags=["recommendation", parts["adapter"], parts["head"]],
        eval_results=_eval_results(dataset, metrics["test"]) or None,
    )
    trained, total = metrics["trainable_weights"], metrics["total_weights"]
    lines = [f"# {name}", "", "A recommender fine-tuned with lorarec.", ""]
    lines += [f"- {kind}: `{part}`" for kind, part in parts.items()]
    lines += [f"- weights trained: {trained:,} of {total:,} ({trained / total:.2%})", ""]
    lines += ["## Metrics", "", *_table(metrics), "", *_rules(metrics), ""]
    lines += [f"The checkpoint of step {metrics['best_step']} was chosen on validation by {metrics['monitor']}.", ""]
    lines += ["## Data", "", *[f"- {line}" for line in data_lines], ""]
    lines += ["## Leakage audit", "", *_leaks(metrics), ""]
    lines += ["## Use", "", USE]
    return ModelCard(f"---\n{header.to_yaml()}\n---\n" + "\n".join(lines) + "\n")


def _eval_results(dataset: str, test: Mapping[str, float]) -> list[EvalResult]:
    """Results shown on the Hub: each finite metric of the test part; ndcg@10 is of type ndcg."""
    return [
        EvalResult(
            task_type="recommendation",
            task_name="Recommendation",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split="test",
            metric_type=label.split("@")[0],
            metric_name=label,
            metric_value=value,
        )
        for label, value in test.items()
        if math.isfinite(value)
    ]


def _table(metrics: Mapping[str, Any]) -> list[str]:
    rows = {"this model": metrics} | dict(metrics["baselines"])
    labels = list(metrics["validation"] or metrics["test"])
    heads = [f"{part} {label}" for part in ("validation", "test") for label in labels]
    lines = ["| | " + " | ".join(heads) + " |", "|-|" + "-|" * len(heads)]
    bounds = [_bounds(metrics, part, label) for part in ("validation", "test") for label in labels]
    for row, numbers in rows.items():
        values = [numbers.get(part, {}).get(label) for part in ("validation", "test") for label in labels]
        lines.append(f"| {row} | " + " | ".join("" if v is None else f"{v:.4f}" for v in values) + " |")
        if row == "this model":
            lines.append(f"| its {metrics['intervals']['level']:.0%} interval | " + " | ".join(bounds) + " |")
    return lines


def _bounds(metrics: Mapping[str, Any], part: str, label: str) -> str:
    interval = metrics["intervals"].get(part, {}).get("metrics", {}).get(label)
    return "" if interval is None else f"{interval['low']:.4f} to {interval['high']:.4f}"


def _rules(metrics: Mapping[str, Any]) -> list[str]:
    """How the intervals were computed, and the evaluation protocol."""
    bounds = metrics["intervals"]
    units = [f"{part}: {bounds[part]['over']}" for part in ("validation", "test") if part in bounds]
    lines = [f"- intervals: {bounds['method']} ({'; '.join(units)})"] if units else []
    return [*lines, *(f"- {line}" for line in protocol_lines(metrics["protocol"]))]


def _leaks(metrics: Mapping[str, Any]) -> list[str]:
    leaks = [f"- {kind}: {leak['message']}" for kind, leak in metrics["leaks"].items()]
    return leaks or ["No leakage was found."]

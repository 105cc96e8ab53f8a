"""The model card: a run folder's README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lorarec.evaluation.protocol import protocol_lines
from lorarec.model.trainable import WeightCount


def model_card(
    name: str, parts: Mapping[str, str], data_lines: Sequence[str], weights: WeightCount, metrics: Mapping[str, Any]
) -> str:
    """Data, split, adapter, share of weights trained, and metrics beside the baselines, as Markdown."""
    header = yaml.safe_dump({"library_name": "lorarec", "tags": ["recommendation", parts["adapter"], parts["head"]]})
    lines = [f"---\n{header}---", f"# {name}", "", "A recommender fine-tuned with lorarec.", ""]
    lines += [f"- {kind}: `{part}`" for kind, part in parts.items()]
    lines += [f"- weights trained: {weights.trainable:,} of {weights.total:,} ({weights.share:.2%})", ""]
    lines += ["## Metrics", "", *_table(metrics), "", *_rules(metrics), ""]
    lines += [f"The checkpoint of step {metrics['best_step']} was chosen on validation by {metrics['monitor']}.", ""]
    lines += ["## Data", "", *[f"- {line}" for line in data_lines], ""]
    lines += ["## Leakage audit", "", *_leaks(metrics), ""]
    lines += [
        "## Use",
        "",
        "```python",
        "import lorarec",
        "",
        'recommender = lorarec.load("path/to/this/folder")',
        'recommender.recommend(histories=[["item-id", "item-id"]], k=10)',
        "```",
    ]
    return "\n".join(lines) + "\n"


def _table(metrics: Mapping[str, Any]) -> list[str]:
    rows = {"this model": metrics} | dict(metrics["baselines"])
    labels = list(metrics["validation"] or metrics["test"])
    heads = [f"{part} {label}" for part in ("validation", "test") for label in labels]
    lines = ["| | " + " | ".join(heads) + " |", "|-|" + "-|" * len(heads)]
    bounds = [_bounds(metrics, part, label) for part in ("validation", "test") for label in labels]
    for row, found in rows.items():
        values = [found.get(part, {}).get(label) for part in ("validation", "test") for label in labels]
        lines.append(f"| {row} | " + " | ".join("" if v is None else f"{v:.4f}" for v in values) + " |")
        if row == "this model":
            lines.append(f"| its {metrics['intervals']['level']:.0%} interval | " + " | ".join(bounds) + " |")
    return lines


def _bounds(metrics: Mapping[str, Any], part: str, label: str) -> str:
    found = metrics["intervals"].get(part, {}).get("metrics", {}).get(label)
    return "" if found is None else f"{found['low']:.4f} to {found['high']:.4f}"


def _rules(metrics: Mapping[str, Any]) -> list[str]:
    """Under which rules the numbers came about."""
    bounds = metrics["intervals"]
    drawn = [f"{part}: {bounds[part]['over']}" for part in ("validation", "test") if part in bounds]
    lines = [f"- intervals: {bounds['method']} ({'; '.join(drawn)})"] if drawn else []
    return [*lines, *(f"- {line}" for line in protocol_lines(metrics["protocol"]))]


def _leaks(metrics: Mapping[str, Any]) -> list[str]:
    found = [f"- {kind}: {leak['message']}" for kind, leak in metrics["leaks"].items()]
    return found or ["Nothing was found."]

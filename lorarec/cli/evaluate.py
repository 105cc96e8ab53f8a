"""`lorarec evaluate`."""

from __future__ import annotations

from lorarec.cli.arguments import RunFolder
from lorarec.cli.output import print_metrics, process_rank


def evaluate(run: RunFolder) -> None:
    """Compute a run's metrics again, from its recipe's data and its weights."""
    from lorarec.pipeline.evaluate import evaluate as evaluate_run

    metrics = evaluate_run(run)
    if not process_rank():
        print_metrics(metrics)

"""Commands on finished runs: how good they are (evaluate, compare, calibrate), and their answers (predict, recommend,
merge)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lorarec.cli.output import print_lines, print_metrics, print_notices, print_slices, print_table, process_rank

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)]


def evaluate(
    run: RunFolder,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also by what training knows of users and items, and by popularity.")
    ] = False,
    diversify: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Also what lists weighed so far towards unlike items would cost in accuracy (next-item runs).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compute a run's metrics again, from its recipe's data and its weights."""
    from lorarec.pipeline.evaluate import evaluate as evaluate_run

    lists = None if diversify is None else _lists(run, diversify)  # first: it refuses heads that make none
    metrics = evaluate_run(run)
    if not process_rank():
        print_metrics(metrics)
        if slices:
            print_slices(metrics)
        if lists is not None:
            print_table(["lists of the test part", "by score", f"diversified {diversify:g}"], lists, words=1)


def _lists(run: Path, diversify: float) -> list[list[str]]:
    from lorarec.pipeline.evaluate import compare_lists

    return [[name, f"{plain:.4f}", f"{mixed:.4f}"] for name, plain, mixed in compare_lists(run, diversify)]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of two finished runs or more.", show_default=False)
    ],
) -> None:
    """Compare runs with the first one: differences on the same test rows, with their 95% intervals.

    Runs that were judged on other rows or by other rules are refused, and what differs is named.
    """
    from lorarec.pipeline.compare import compare as compare_runs

    comparison = compare_runs(runs)
    rows = [
        [
            row.metric,
            row.run,
            f"{row.value:.4f}",
            f"{row.first:.4f}",
            f"{row.value - row.first:+.4f}",
            "" if row.low is None else f"{row.low:+.4f} to {row.high:+.4f}",
            "" if row.better is None else f"{row.better:.1%}",
        ]
        for row in comparison.rows
    ]
    columns = ["metric", "run", "its value", comparison.first, "difference", "95% interval", "better in"]
    print_table(columns, rows, words=2)
    print_lines(comparison.notes())


def calibrate(
    run: RunFolder,
    method: Annotated[
        Literal["temperature", "isotonic"],
        typer.Option(
            help="temperature: one number, safe on little data; isotonic: any rising curve, for thousands of rows, and "
            "one probability for scores that lie near each other."
        ),
    ] = "temperature",
) -> None:
    """Calibrate a click-through-rate run on its validation part: its probabilities then mean what they say.

    The calibration is kept in the run folder: predict, recommend and evaluate go by it from then on. What the run was
    finished with (metrics.json, test_scores.parquet, and so compare) stays as it was trained.
    """
    from lorarec.pipeline.calibrate import calibrate as calibrate_run

    report = calibrate_run(run, method)
    rows = [[part, name, f"{before:.4f}", f"{after:.4f}"] for part, name, before, after in report.rows]
    print_table(["part", "measure", "before", "after"], rows, words=2)
    if report.calibration.method == "temperature":
        print(f"Temperature: {report.calibration.temperature:.3f}.")
        if report.calibration.at_its_limit:
            print(
                "That is as far as temperatures are looked for: the probabilities are far from what they should be. "
                "Train longer, or with another learning rate."
            )
    print("Fitted on validation: what it is worth, the rows of test tell.")
    print(f"{run} now answers with calibrated probabilities.")


def predict(
    run: RunFolder,
    input_file: Annotated[
        Path, typer.Option("--input", help="Rows to score: csv, jsonl or parquet.", show_default=False)
    ],
    output_file: Annotated[
        Path,
        typer.Option("--output", help="The same rows with a score each: csv, jsonl or parquet.", show_default=False),
    ],
) -> None:
    """Score rows of an item and a history: stars, or the probability of a click.

    Columns read: item; history (ids, oldest first, joined by | in csv). A column score is added.

    Where the run uses them: history_feedback (a number beside each id of the history), and user.
    """
    from lorarec.inference.answer_files import predict_file
    from lorarec.pipeline.load import load

    print_notices(predict_file(load(run), input_file, output_file))
    print(f"Predictions are in {output_file}.")


def recommend(
    run: RunFolder,
    histories: Annotated[Path, typer.Option(help="One history a row: csv, jsonl or parquet.", show_default=False)],
    output_file: Annotated[
        Path,
        typer.Option("--output", help="Items recommended, with titles: csv, jsonl or parquet.", show_default=False),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each history.")] = 10,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Search an index of the item vectors (extra 'index'): for next-item runs, and worth its making from "
            "100,000 items and 1,000 histories on.",
        ),
    ] = False,
    diversify: Annotated[
        float,
        typer.Option(min=0, max=1, help="Weight of unlikeness within a list against the scores, such as 0.3."),
    ] = 0.0,
) -> None:
    """Recommend items that continue histories.

    Column read: history (ids, oldest first, joined by | in csv). Written: row, rank, item, title, score.

    Where the run uses them: history_feedback (a number beside each id of the history), and user.
    """
    from lorarec.inference.answer_files import recommend_file
    from lorarec.pipeline.load import load

    print_notices(recommend_file(load(run), histories, output_file, k, approximate, diversify))
    print(f"Recommendations are in {output_file}.")


def merge(
    run: RunFolder,
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist.", show_default=False)],
) -> None:
    """Fold the adapter into the backbone and write a plain transformers folder."""
    from lorarec.pipeline.merge import merge as merge_run

    print(f"The merged backbone is in {merge_run(run, output)}.")

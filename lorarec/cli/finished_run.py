"""Commands on finished runs: evaluate, compare, calibrate, predict, recommend and merge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lorarec.cli.output import print_lines, print_metrics, print_notices, print_slices, print_table, process_rank

SafeCsv = Annotated[
    bool,
    typer.Option(
        "--safe-csv",
        help="In csv and tsv, write an apostrophe before every text that a spreadsheet would run as a formula (such as "
        "=1+2); numbers stay numbers.",
    ),
]
SeenItems = Annotated[
    Literal["mask", "keep"] | None,
    typer.Option(
        help="mask leaves the items of a history out, keep ranks them like all others; by default, what "
        "`evaluate.seen` of the run's recipe says.",
        show_default=False,
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)]


def evaluate(
    run: RunFolder,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also by how often users and items occur in training, and by popularity.")
    ] = False,
    diversify: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Also the accuracy and diversity of lists diversified with this weight (next-item runs).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compute a run's metrics again, from its recipe's data and its weights."""
    from lorarec.pipeline.evaluate import evaluate as evaluate_run

    lists = None if diversify is None else _lists(run, diversify)  # first: it refuses heads without lists
    metrics = evaluate_run(run)
    if not process_rank():
        print_metrics(metrics)
        if slices:
            print_slices(metrics)
        if lists is not None:
            print_table(["lists of the test part", "by score", f"diversified {diversify:g}"], lists, words=1)


def _lists(run: Path, diversify: float) -> list[list[str]]:
    from lorarec.pipeline.evaluate import compare_lists

    return [[name, f"{plain:.4f}", f"{diverse:.4f}"] for name, plain, diverse in compare_lists(run, diversify)]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of at least two finished runs.", show_default=False)
    ],
) -> None:
    """Compare runs with the first one: differences on the same test rows, with their 95% intervals.

    Runs that were evaluated on different rows or by different rules are refused, with a list of the differences.
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
    columns = ["metric", "run", "value", comparison.first, "difference", "95% interval", "better in"]
    print_table(columns, rows, words=2)
    print_lines(comparison.notes())


def calibrate(
    run: RunFolder,
    method: Annotated[
        Literal["temperature", "isotonic"],
        typer.Option(
            help="temperature: one number, safe on little data; isotonic: any increasing curve, for thousands of rows; "
            "scores that are close get the same probability."
        ),
    ] = "temperature",
) -> None:
    """Calibrate the probabilities of a click-through-rate run on its validation part.

    The calibration is written to the run folder and is used by predict, recommend and evaluate. The results of
    training (metrics.json, test_scores.parquet, and so compare) stay uncalibrated.
    """
    from lorarec.pipeline.calibrate import calibrate as calibrate_run

    report = calibrate_run(run, method)
    rows = [[part, name, f"{before:.4f}", f"{after:.4f}"] for part, name, before, after in report.rows]
    print_table(["part", "measure", "before", "after"], rows, words=2)
    if report.calibration.method == "temperature":
        print(f"Temperature: {report.calibration.temperature:.3f}.")
        if report.calibration.at_its_limit:
            print(
                "This is the limit of the search: the probabilities are far from calibrated. Train longer, or with "
                "another learning rate."
            )
    print("It was fitted on validation: the rows of test show how well it works.")
    print(f"{run} now predicts calibrated probabilities.")


def predict(
    run: RunFolder,
    input_file: Annotated[
        Path, typer.Option("--input", help="Rows to score: csv, jsonl or parquet.", show_default=False)
    ],
    output_file: Annotated[
        Path,
        typer.Option("--output", help="The same rows with a score each: csv, jsonl or parquet.", show_default=False),
    ],
    safe_csv: SafeCsv = False,
) -> None:
    """Score rows of an item and a history: stars, the probability of a click, or how well a next item fits.

    Columns read, by these names or those of the training data: item; history (ids, oldest first, joined by | in csv). A
    column score is added; for next items, it only orders items for one history.

    If the run uses them: history_feedback (a number for each id of the history), and user.NAME.
    """
    from lorarec.inference.answer_files import predict_file
    from lorarec.pipeline.load import load

    print_notices(predict_file(load(run), input_file, output_file, safe_csv))
    print(f"Predictions are in {output_file}.")


def recommend(
    run: RunFolder,
    histories: Annotated[Path, typer.Option(help="One history per row: csv, jsonl or parquet.", show_default=False)],
    output_file: Annotated[
        Path,
        typer.Option("--output", help="Recommended items, with titles: csv, jsonl or parquet.", show_default=False),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of items for each history.")] = 10,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Search an index of the item vectors (extra 'index'): for next-item runs, from about 100,000 items "
            "and 1,000 histories.",
        ),
    ] = False,
    diversify: Annotated[
        float,
        typer.Option(min=0, max=1, help="Weight of dissimilarity within a list against the scores, such as 0.3."),
    ] = 0.0,
    seen: SeenItems = None,
    safe_csv: SafeCsv = False,
) -> None:
    """Recommend items that continue histories.

    Column read, by this name or that of the training data: history (ids, oldest first, joined by | in csv). Written:
    row (of the request), user (if it has one), rank, item, title, score.

    If the run uses them: history_feedback (a number for each id of the history), and user.NAME.
    """
    from lorarec.inference.answer_files import recommend_file
    from lorarec.pipeline.load import load

    print_notices(recommend_file(load(run), histories, output_file, k, approximate, diversify, seen, safe_csv))
    print(f"Recommendations are in {output_file}.")


def merge(
    run: RunFolder,
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist.", show_default=False)],
) -> None:
    """Fold the adapter into the backbone and write a plain transformers folder."""
    from lorarec.pipeline.merge import merge as merge_run

    print(f"The merged backbone is in {merge_run(run, output)}.")

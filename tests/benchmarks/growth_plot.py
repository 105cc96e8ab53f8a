"""Draws growth.png from growth.json: time per event by number of events, memory by catalog size, and whole runs on
parquet shards, on log-log axes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TIME = {"train_microseconds_an_event": "training, one epoch", "prepare_microseconds_an_event": "preparing the data"}
MEMORY = {"train_mib": "training", "run_mib": "whole run, every item encoded", "recommend_mib": "recommending"}
LOGS = {"log": "events of users", "histories": "rows with their own histories"}
MARKS = ("o", "s", "^")
LIMIT_MIB = 24 * 1024
"""Target for a million items."""
LOG_LIMIT_MIB = 8e9 / 2**20
"""Target for a hundred million events."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=HERE / "growth.json", help="what growth.py wrote")
    parser.add_argument("--out", type=Path, default=HERE / "growth.png")
    parser.add_argument("--encoder", help="which of the file's encoders (default: the first)")
    return parser.parse_args()


def draw_lines(axes: Any, rows: Sequence[Mapping[str, float]], size: str, figures: Mapping[str, str]) -> None:
    """One line per figure, each with its own marker, so that color is not needed to distinguish them."""
    for mark, (figure, label) in zip(MARKS, figures.items(), strict=False):
        axes.plot([row[size] for row in rows], [row[figure] for row in rows], marker=mark, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(True, which="major", alpha=0.4)


def draw(results: Mapping[str, Any], encoder: str, target: Path) -> None:
    """The panels, side by side."""
    import matplotlib

    matplotlib.use("Agg")  # needs no screen
    from matplotlib import pyplot

    figure, (left, right, seconds, memory) = pyplot.subplots(1, 4, figsize=(20, 4.5), layout="constrained")
    draw_lines(left, results["time"], "events", TIME)
    left.set(xlabel="events", ylabel="microseconds per event", title="Time: a horizontal line is linear growth")
    draw_lines(right, results["memory"], "items", MEMORY)
    rows = results["memory"]
    if rows:
        first, last = rows[0], rows[-1]
        linear = first["run_mib"] * last["items"] / first["items"]
        ends = [first["items"], last["items"]], [first["run_mib"], linear]
        right.plot(*ends, linestyle=":", color="gray", label="linear growth from the first point")
        right.axhline(LIMIT_MIB, linestyle="--", color="black", linewidth=1, label="24 GB")
        right.set_ylim(top=2 * max(LIMIT_MIB, *(row["run_mib"] for row in rows)))
    right.set(xlabel="items in the catalog", ylabel="peak resident memory, MiB", title="Memory")
    measured = {log: label for log, label in LOGS.items() if results.get(log)}
    for mark, (log, label) in zip(MARKS, measured.items(), strict=False):
        rows = results[log]
        events = [row["events"] for row in rows]
        seconds.plot(events, [row["processor_seconds"] for row in rows], marker=mark, label=label)
        memory.plot(events, [row["all_processes_mib"] for row in rows], marker=mark, label=label)
    memory.axhline(LOG_LIMIT_MIB, linestyle="--", color="black", linewidth=1, label="8 GB")
    seconds.set(xlabel="events in parquet shards", ylabel="processor seconds", title="Whole run of 20 steps")
    memory.set(xlabel="events in parquet shards", ylabel="peak memory of all processes, MiB", title="Its memory")
    for axes in (seconds, memory):
        axes.set(xscale="log", yscale="log")
        axes.grid(True, which="major", alpha=0.4)
    for axes in (left, right, seconds, memory):
        axes.legend(fontsize="small")
    machine = results["machine"]
    threads = f"threads: {machine['threads']}"
    title = f"Next item, loss=sampled_softmax; encoder: {encoder}; {machine['processor']}, {threads}"
    figure.suptitle(title, fontsize="medium")
    figure.savefig(target, dpi=150)


def main() -> None:
    """Read the file and draw."""
    arguments = options()
    if not arguments.source.is_file():
        raise SystemExit(f"{arguments.source.name} does not exist: growth.py writes it.")
    known = json.loads(arguments.source.read_text(encoding="utf-8"))
    encoder = arguments.encoder or next(iter(known))
    if encoder not in known:
        raise SystemExit(f"{arguments.source.name} has no encoder '{encoder}', but {', '.join(known)}.")
    draw(known[encoder], encoder, arguments.out)
    print(f"Drawn: {arguments.out.name}")


if __name__ == "__main__":
    main()

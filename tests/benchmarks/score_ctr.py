"""Scoring for CTR on TALLRec's test rows: lorarec's `Recommender.predict` against `Trainer.predict` in bf16.

Both score the same rows with MiniLM and LoRA of rank 8 (the peer's untrained), each in a fresh process. Ours is timed
from ids to scores, including the encoding of the whole item table in the first call; the peer's texts are tokenized
beforehand, in its favor, its weights are in bfloat16, and its batches are grouped by length. The first call of each
side includes its warm-up; a second call shows the speed of a warm service. Imports and loading are not timed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from paired import DATA, Side, add_options, in_turn, print_figure, ratio, record
from tallrec_sample import RECIPE, copy_rows


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "tallrec-movie", help="folder with train.json and so on")
    parser.add_argument("--run", type=Path, help="a finished run of tallrec_texts.yaml (default: one of a few steps)")
    parser.add_argument("--rows", type=int, help="test rows, from the start of test.json (default: all)")
    parser.add_argument("--steps", type=int, default=20, help="training steps, which do not affect speed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of our recipe")
    parser.add_argument("--peer-attention", choices=("eager", "sdpa"), help="default: transformers' choice")
    add_options(parser)
    return parser.parse_args()


def train_briefly(arguments: argparse.Namespace, folder: str) -> Path:
    """A run to score with, whose catalog has the items of all rows in `folder`."""
    run = Path(folder) / "run"
    overrides = [f"data.source.path={folder}", f"train.max_steps={arguments.steps}", "train.batch_size=32"]
    Side("training", "ours.train", [RECIPE, *overrides, *arguments.set, "--no-cost", "--output", str(run)]).run(
        arguments.threads
    )
    return run


def main() -> None:
    """Train once, score alternately, report."""
    arguments = options()
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as folder:
        counts = copy_rows(arguments.data, Path(folder), None, arguments.rows)
        print(f"{counts['test']} test rows, threads: {arguments.threads}")
        run = arguments.run or train_briefly(arguments, folder)
        attention = ["--attention", arguments.peer_attention] if arguments.peer_attention else []
        twice = ["--epochs", "0", "--predictions", "2", "--bf16", "--group"]
        sides = [
            Side("ours", "ours.score", [str(run.resolve())]),
            Side("peer", "peers.hf_trainer_ctr", ["--data", folder, *twice, *attention]),
        ]
        rounds = in_turn(sides, arguments.pairs, arguments.threads)
    if {figures["ours"]["rows"] for figures in rounds} != {counts["test"]}:
        raise SystemExit("The run's recipe and the peer read different test rows: give a run on the same data.")
    print_figure(rounds, "predicted_per_second", "rows/s, first call (ours: encodes the item table)")
    print_figure(rounds, "again_per_second", "rows/s, second call (ours: reuses the item table)")
    for figure, label in (("predicted_per_second", "first call"), ("again_per_second", "second call")):
        print(f"rows/s, ours over peer, {label}: {ratio(rounds, ('ours', figure), ('peer', figure))}")
    print_figure(rounds, "peak_memory_mib", "peak memory of the process, MiB")
    record("score_ctr", arguments, rounds)


if __name__ == "__main__":
    main()

"""CTR training on TALLRec's movie rows: lorarec against the Hugging Face Trainer with PEFT's LoRA.

Both adapt all-MiniLM-L6-v2 by LoRA, r=8 on query and value, in batches of 32, on the same rows with the same threads,
each in a fresh process. Timed on both sides: whole epochs of training, the first step's warm-up included; not timed:
imports, loading, tokenizing, evaluation. Peak memory is that of the whole process, evaluation included. The peer runs
in bf16 with batches grouped by length; --peer-attention eager is faster on CPUs than transformers' own choice.
With --layers only the upper blocks are adapted, and the second and later epochs are compared with the same peer.
With --against another checkout of lorarec replaces the peer: both states do the same work, each with its own code.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from paired import (
    DATA,
    Figures,
    Side,
    add_options,
    add_state_options,
    in_turn,
    middle,
    other_state,
    print_figure,
    ratio,
    record,
    refuse_idle_options,
)
from tallrec_sample import RECIPE, copy_rows

BATCH = 32


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "tallrec-movie", help="folder with train.json and so on")
    parser.add_argument("--rows", type=int, help="training rows, from the start of train.json (default: all)")
    parser.add_argument("--test-rows", type=int, help="rows of each other part (default: all)")
    parser.add_argument("--epochs", type=int, help="epochs of both sides (default: 1; ours with --layers: 3)")
    parser.add_argument("--layers", help='blocks that ours adapts, such as "-2,-1" (default: all, as the peer)')
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of our recipe")
    parser.add_argument(
        "--peer-attention", choices=("eager", "sdpa"), help="the peer's (default: transformers' choice)"
    )
    add_state_options(parser)
    add_options(parser)
    arguments = parser.parse_args()
    refuse_idle_options(arguments, ["peer_attention"])
    return arguments


def our_side(arguments: argparse.Namespace, folder: str, epochs: int) -> Side:
    """lorarec's recipe tallrec_texts.yaml, with the peer's batch size."""
    overrides = [
        f"data.source.path={folder}",
        f"train.batch_size={BATCH}",
        f"train.epochs={epochs}",
        "train.save_every=never",
    ]
    if arguments.layers:
        overrides.append(f"adapter.layers=[{arguments.layers}]")
    return Side("ours", "ours.train", [RECIPE, *overrides, *arguments.set])


def peer_side(arguments: argparse.Namespace, folder: str, epochs: int) -> Side:
    """The Trainer with the fastest settings that a user would choose."""
    attention = ["--attention", arguments.peer_attention] if arguments.peer_attention else []
    command = ["--data", folder, "--bf16", "--group", "--batch", str(BATCH), "--epochs", str(epochs), *attention]
    return Side("peer", "peers.hf_trainer_ctr", command)


def report(rounds: Sequence[Mapping[str, Figures]], cached: bool) -> None:
    """Print the ratio of speeds, and the other figures."""
    figure = "later_rows_per_second" if cached else "rows_per_second"
    other = next(side for side in rounds[0] if side not in ("ours", "machine"))
    other_figure = figure if other == "other" else "rows_per_second"  # the peer caches nothing: its epochs are equal
    print_figure(rounds, "rows_per_second", "training samples/s, all epochs")
    if cached:
        print_figure(rounds, "first_epoch_rows_per_second", "samples/s, first epoch, including filling the cache")
        print_figure(rounds, "cache_seconds", "seconds to fill the cache")
        print_figure(rounds, "later_rows_per_second", "samples/s, later epochs")
    print(f"samples/s, ours over {other}: {ratio(rounds, ('ours', figure), (other, other_figure))}")
    print_figure(rounds, "test_auc", "test AUC")
    print_figure(rounds, "peak_memory_mib", "peak memory of the process, MiB")
    memory = ratio(rounds, ("ours", "peak_memory_mib"), (other, "peak_memory_mib"))
    print(f"peak memory, ours over {other}: {memory}")
    print_figure(rounds, "tokens_per_second", "tokens/s without padding (of the encoded texts)")
    print_figure(rounds, "padding", "share of positions that are padding")
    print_figure(rounds, "outside_share", "share of the step outside forward, backward, optimizer")
    print_figure(rounds, "model_gflops", "GFLOP/s of the model's linear layers (without attention's products)")
    for peak in ("gemm_bf16_gflops", "gemm_fp32_gflops"):
        fraction = ratio(rounds, ("ours", "model_gflops"), ("machine", peak))
        print(f"{peak} {middle(rounds, 'machine', peak):.0f}; ours reaches a share of {fraction.median:.3f}")


def main() -> None:
    """Run the pairs and report."""
    arguments = options()
    cached = arguments.layers is not None
    epochs = arguments.epochs or (3 if cached else 1)
    if cached and epochs < 2:
        raise SystemExit("--layers compares the second and later epochs: give --epochs 2 or more.")
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as folder:
        counts = copy_rows(arguments.data, Path(folder), arguments.rows, arguments.test_rows)
        print(
            f"{counts['train']} training rows, {counts['test']} test rows, batch {BATCH}, {arguments.threads} threads"
        )
        ours = our_side(arguments, folder, epochs)
        if arguments.against is not None:
            other, rows = other_state(ours, arguments), "rows_in_all"
        else:
            # The peer caches nothing between epochs: one epoch gives the speed of all of them.
            other, rows = peer_side(arguments, folder, 1 if cached and not arguments.epochs else epochs), "rows"
        rounds = in_turn([ours, other, Side("machine", "machine")], arguments.pairs, arguments.threads)
    mine, others = rounds[0]["ours"]["rows_in_all"], rounds[0][other.name][rows]
    if mine != others:
        raise SystemExit(f"ours trained on {mine} rows, {other.name} on {others}: the sides must read the same rows.")
    report(rounds, cached)
    record("train_ctr", arguments, rounds)


if __name__ == "__main__":
    main()

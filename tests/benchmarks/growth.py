"""How time grows with events and memory with the catalog: next-item training and `recommend` in a simulated shop.

Time: one epoch of next-item training (sampled softmax) on 10^4, 10^5 and 10^6 events of 1,000 items, and preparing the
data. Memory: the peak resident memory of a fresh process that trains a few steps, of the whole run (which ends by
encoding every item), and of another one that recommends, with 10^3 to 10^6 items and 10^5 events. Log: seconds and
memory of all processes of `lorarec train`, from its start to the finished run of 20 steps, on 10^5 to 10^8 events in
parquet shards, with 1,000 held-out rows for validation and for test. Writes growth.json, which `growth_plot.py`
draws. --encoder small replaces MiniLM by a random transformer of two narrow blocks, for which a
million items are feasible; the output names the encoder. Measurements that the file already has are skipped unless
--again is given.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paired import HERE, Side, add_run_options, record

TIMED_ITEMS = 1000
MEMORY_EVENTS = 100_000
ENCODERS = {
    "minilm": "{name: minilm, max_length: 32, dtype: bfloat16}",
    "small": "{name: text, checkpoint: FOLDER/encoder, max_length: 32}",
}
LOG_RECIPE = """name: growth
data:
  source: {name: files, interactions: FOLDER/events, items: FOLDER/items.parquet}
  item_text: "{title}"
  split: {by: time, validation: SHARE, test: SHARE}
backbone: BACKBONE
adapter: ADAPTER
head: HEAD
train: {epochs: 1, max_steps: STEPS, batch_size: BATCH, save_every: never}
"""
LOG_STEPS = 20
HELD_OUT = 1000
SHARD = 2_000_000
"""Largest number of events of a shard."""
RECIPE = """name: growth
data:
  source: {name: files, path: FOLDER}
  columns: {user: user, item: item, time: time}
  item_text: "{title}"
  split: {by: time, validation: 0.001, test: 0.001}
backbone: BACKBONE
adapter: {name: lora, r: 8}
head: {name: next_item, loss: sampled_softmax}
train: {epochs: 1, batch_size: BATCH, save_every: never}
evaluate: {metrics: [ndcg@10]}
"""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--events", type=int, nargs="*", default=[10**4, 10**5, 10**6], help="numbers of events to time"
    )
    parser.add_argument("--items", type=int, nargs="*", default=[10**3, 10**4, 10**5, 10**6], help="catalog sizes")
    parser.add_argument("--log", type=int, nargs="*", default=[10**5, 10**6, 10**7], help="events in parquet shards")
    parser.add_argument("--log-items", type=int, default=10_000, help="catalog size of the logs")
    parser.add_argument("--log-users", type=int, help="users of the logs (default: one for each 50 events)")
    parser.add_argument("--id-length", type=int, default=24, help="characters of the logs' ids")
    parser.add_argument("--history", type=int, default=0, help="item ids of each row's own history in the logs")
    parser.add_argument("--epoch", action="store_true", help="train the runs on logs for a whole epoch")
    parser.add_argument("--processes", type=int, default=1, help="processes of the runs on logs, on CPUs")
    parser.add_argument("--adapter", default="frozen", help="adapter of the runs on logs")
    parser.add_argument("--head", default="{name: next_item, loss: sampled_softmax}", help="head of the runs on logs")
    parser.add_argument("--encoder", choices=tuple(ENCODERS), default="minilm")
    parser.add_argument("--batch", type=int, default=64, help="windows per optimizer step")
    parser.add_argument("--steps", type=int, default=5, help="steps of the runs whose memory is measured")
    parser.add_argument("--users", type=int, default=943, help="users to recommend to")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more overrides of the recipe")
    parser.add_argument("--out", type=Path, default=HERE / "growth.json")
    parser.add_argument("--again", action="store_true", help="repeat measurements that the file already has")
    add_run_options(parser)
    return parser.parse_args()


def open_shop(folder: Path, events: int, items: int, arguments: argparse.Namespace) -> Path:
    """Write the shop, and the encoder if it is not MiniLM; return the path of a recipe for them."""
    from random_encoders import write_bert
    from simulated_shop import write_shop

    write_shop(folder, events, items)
    if arguments.encoder == "small":
        write_bert(folder / "encoder")
    recipe = folder / "recipe.yaml"
    text = RECIPE.replace("BACKBONE", ENCODERS[arguments.encoder]).replace("BATCH", str(arguments.batch))
    recipe.write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")
    return recipe


def time_of(events: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of preparing the data and of one epoch."""
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as folder:
        recipe = open_shop(Path(folder), events, TIMED_ITEMS, arguments)
        figures = Side("time", "ours.prepare", [str(recipe), *arguments.set]).run(arguments.threads)
    return {
        "events": events,
        "steps": figures["steps"],
        "prepare_seconds": figures["prepare_seconds"],
        "train_seconds": figures["epoch_seconds"],
        "prepare_microseconds_an_event": 1e6 * figures["prepare_seconds"] / events,
        "train_microseconds_an_event": 1e6 * figures["epoch_seconds"] / events,
    }


def memory_of(items: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """MiB of training, of the whole run, and of recommending from it."""
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as folder:
        recipe = open_shop(Path(folder), MEMORY_EVENTS, items, arguments)
        run = Path(folder) / "run"
        steps = [f"train.max_steps={arguments.steps}", "--no-cost", "--output", str(run)]
        trained = Side("training", "ours.train", [str(recipe), *arguments.set, *steps]).run(arguments.threads)
        command = [str(run), "--simulated", "--users", str(arguments.users)]
        answered = Side("recommending", "ours.recommend", command).run(arguments.threads)
    return {
        "items": items,
        "train_mib": trained["fit_memory_mib"],
        "run_mib": trained["peak_memory_mib"],
        "recommend_mib": answered["peak_memory_mib"],
        "run_seconds": trained["train_seconds"],
        "recommend_seconds": answered["seconds"],
    }


def log_of(events: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of a whole run on a log of so many events."""
    from random_encoders import write_bert
    from simulated_shop import write_shards

    users = arguments.log_users or max(2, events // 50)
    rows = events // (arguments.history + 1)
    settings = {
        "BACKBONE": ENCODERS[arguments.encoder],
        "ADAPTER": arguments.adapter,
        "HEAD": arguments.head,
        "STEPS": "null" if arguments.epoch else str(LOG_STEPS),
        "BATCH": str(arguments.batch),
        "SHARE": str(HELD_OUT / rows),
    }
    with tempfile.TemporaryDirectory(prefix="lorarec-benchmark-") as name:
        folder = Path(name)
        shards = -(-events // SHARD)
        write_shards(folder, events, arguments.log_items, users, shards, arguments.id_length, arguments.history)
        if arguments.encoder == "small":
            write_bert(folder / "encoder")
        text = LOG_RECIPE
        for word, setting in (settings | {"FOLDER": str(folder)}).items():
            text = text.replace(word, setting)
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        command = ["train", str(folder / "recipe.yaml"), *arguments.set, "--output", str(folder / "run")]
        figures = Side("whole run", "ours.whole", [str(arguments.processes), *command]).run(arguments.threads)
    shop = {"rows": rows, "users": users, "items": arguments.log_items, "shards": shards, "history": arguments.history}
    shop |= {"id_length": arguments.id_length, "processes": arguments.processes}
    return {"events": events, **shop, **figures}


def part_of(arguments: argparse.Namespace) -> str:
    """The part of the results that runs on logs belong to."""
    if arguments.epoch:
        return "epoch"
    if arguments.processes > 1:
        return "processes"
    return "histories" if arguments.history else "log"


def print_growth(rows: Sequence[Mapping[str, float]], size: str, figures: Sequence[str]) -> None:
    """Each figure at each size, and its increase per 1,000 from the previous size; constant or falling is linear."""
    for before, row in zip([None, *rows], rows, strict=False):
        parts = []
        for figure in figures:
            increase = ""
            if before is not None:
                added = 1000 * (row[figure] - before[figure]) / (row[size] - before[size])
                increase = f" ({added:+.3g} per 1,000 {size} more)"
            parts.append(f"{figure} {row[figure]:.4g}{increase}")
        print(f"{row[size]:,} {size}: {'; '.join(parts)}")


def main() -> None:
    """Run the missing measurements, write the file after each, print."""
    arguments = options()
    known = json.loads(arguments.out.read_text()) if arguments.out.exists() and not arguments.again else {}
    results: dict[str, Any] = {"time": [], "memory": []} | known.get(arguments.encoder, {})
    log = part_of(arguments)
    results.setdefault(log, [])
    work = [
        ("time", "events", arguments.events, time_of),
        ("memory", "items", arguments.items, memory_of),
        (log, "events", arguments.log, log_of),
    ]
    for part, size, counts, measure in work:
        for count in counts:
            if any(row[size] == count for row in results[part]):
                continue
            print(f"{part} at {count:,} {size}, encoder {arguments.encoder} ...", flush=True)
            results[part] = sorted([*results[part], measure(count, arguments)], key=lambda row: float(row[size]))
            results["machine"] = Side("machine", "machine", ["--seconds", "0.5"]).run(arguments.threads)
            known[arguments.encoder] = results
            arguments.out.write_text(json.dumps(known, indent=1) + "\n")
    print(f"Encoder: {arguments.encoder}")
    print_growth(results["time"], "events", ["prepare_seconds", "train_seconds"])
    print_growth(results["memory"], "items", ["train_mib", "run_mib", "recommend_mib"])
    print_growth(results[log], "events", ["seconds", "processor_seconds", "all_processes_mib"])
    record("growth", arguments, results)


if __name__ == "__main__":
    main()

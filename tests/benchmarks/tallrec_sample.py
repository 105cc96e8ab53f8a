"""A part of TALLRec's movie rows, in a folder that both sides read."""

from __future__ import annotations

import json
from pathlib import Path

RECIPE = "tallrec_texts.yaml"
"""Our recipe for these rows, in this folder; it reads only TALLRec's files."""
PARTS = {"train": "train.json", "validation": "valid.json", "test": "test.json"}


def copy_rows(source: Path, target: Path, train: int | None, test: int | None) -> dict[str, int]:
    """Write the first `train` rows of train.json and the first `test` ones of the others; all of them where None.

    Returns the number of rows of each part. Ends the program with a hint if the data are missing.
    """
    if not (source / PARTS["train"]).is_file():
        raise SystemExit(f"{source}: no train.json in it. Name the folder of TALLRec's movie rows by --data.")
    counts = {}
    for part, name in PARTS.items():
        rows = json.loads((source / name).read_text(encoding="utf-8"))[: train if part == "train" else test]
        (target / name).write_text(json.dumps(rows), encoding="utf-8")
        counts[part] = len(rows)
    return counts

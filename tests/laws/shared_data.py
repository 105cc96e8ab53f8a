"""What two processes started by torchrun share: `shared_data.py RECIPE FOLDER`.

Each process reads the data of a recipe together with the other: with the cache folder as it is, and with one that
cannot be written; and then alone. It writes to FOLDER/RANK.json how often it read them itself, a hash of each, and the
memory of the arrays' mapping; what it logs is in FOLDER/RANK.log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from lorarec.engine import shared_arrays
from lorarec.pipeline.assemble import ReadData, open_recipe, read_data


def main(recipe: str, folder: Path) -> None:
    """Read three times, and say what happened."""
    accelerator = Accelerator(cpu=True)
    reads: list[str] = []

    def read() -> ReadData:
        reads.append("read")
        return read_data(open_recipe(recipe))

    logging.basicConfig(filename=folder / f"{accelerator.process_index}.log", format="%(message)s")
    shared = shared_arrays.computed_once(accelerator, read)
    said: dict[str, Any] = {"reads": len(reads), "shared": digest(shared), "mapping": mapping()}
    shared_arrays.cache_folder = lambda: Path(recipe) / "cache"  # a file is no folder
    said |= {"without cache": digest(shared_arrays.computed_once(accelerator, read)), "reads in all": len(reads)}
    said["alone"] = digest(read())
    (folder / f"{accelerator.process_index}.json").write_text(json.dumps(said))


def digest(read: ReadData) -> str:
    """A hash of the events, their histories and the examples."""
    data, sha = read.data, hashlib.sha256()
    events, rows = data.interactions, np.arange(len(data.interactions))
    latest, mask = data.histories.latest(rows, 5)
    examples = (table.data.column("event").to_numpy() for table in read.tables.values())
    for values in (events.user, events.item, events.part, data.histories.lengths(rows), *latest, mask, *examples):
        sha.update(values.tobytes())
    sha.update("".join([*data.catalog.texts(), *data.interactions.user_ids.to_pylist()]).encode())
    return f"{data.report.fingerprint} {sha.hexdigest()}"


def mapping() -> dict[str, int]:
    """Kilobytes of the mapping of arrays by kind; its file has no name any more."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("/arrays (deleted)"))
    words = [line.split() for line in lines[start + 1 : start + 20]]
    return {name.rstrip(":"): int(value) for name, value, unit in (each for each in words if len(each) == 3)}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

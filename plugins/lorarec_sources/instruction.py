"""`instruction`: instruction-tuning JSON of the TALLRec kind, read back into histories, items and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, hookimpl, read_table
from lorarec_sources.found import contents, existing_file, existing_folder
from lorarec_sources.preference_text import EXPECTED, Preference, parse_preference
from lorarec_sources.titled_items import titled_items

PARTS: dict[str, str] = {"train": "train.json", "validation": "valid.json", "test": "test.json"}
ANSWERS = {"yes": 1, "no": 0}
ROWS = "rows.parquet"
ROW_COLUMNS = ("user_id", "history_item_id", "history_liked", "item_id", "liked", "timestamp")
SHOWN = 80


class InstructionSource(DataSource):
    """Reads a folder with train.json, and perhaps valid.json and test.json: lists of {instruction, input,
    output}.

    `input` is such as: User Preference: "A", "B" / User Unpreference: "C" / Whether the user will like the
    target movie "D"? (three lines; books read `"A" written by B`), `output` is Yes. or No. Out come the
    columns item, history (items, liked ones first, then disliked ones, each in the order of the text: how
    they were interleaved in time, the text does not say), history_feedback (1 liked, 0 disliked), click (1
    for Yes.) and split. An item's id is its title: two items of one title are one item. The text names no
    users, so each row stands for itself. Items have title, name, year (null where the title names none), and
    the columns of `items`.

    With `rows: true`, rows.parquet beside the files gives, row for row, the ids (user_id, item_id), the order
    in time and the timestamp; the titles still come from the text, and both must tell the same.

    Bao et al. TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with
    Recommendation. RecSys 2023.
    """

    name = "instruction"
    summary = "TALLRec's instruction/input/output JSON, read back into history, candidate and label"
    paper = "Bao et al., RecSys 2023, https://arxiv.org/abs/2305.00447"

    class Config(StrictConfig):
        """Where the files are, and whether ids lie beside them."""

        path: str
        """The folder with train.json, valid.json and test.json."""
        rows: bool = False
        """Take users, item ids, order and time from rows.parquet (user_id, history_item_id, history_liked,
        item_id, liked, timestamp; train, valid and test one after the other)."""
        items: str | None = None
        """A parquet file with a column `title` and what else is known of the items, such as MovieLens 100K's
        items.parquet with their genres: its columns join the items by title."""

    config: Config

    def load(self) -> RawTables:
        """The tables. Raises DataError naming file and row of what cannot be read."""
        folder = existing_folder(self.config.path)
        examples = _examples(folder)
        if self.config.rows:
            return _from_rows(existing_file(folder / ROWS), examples, self.config.items)
        items = dict.fromkeys(item for example in examples for item in example.items())
        table = {
            "item": [example.text.target for example in examples],
            "history": [example.text.liked + example.text.disliked for example in examples],
            "history_feedback": [
                [1.0] * len(example.text.liked) + [0.0] * len(example.text.disliked) for example in examples
            ],
            "click": [example.click for example in examples],
            "split": [example.split for example in examples],
        }
        return RawTables(
            interactions=Dataset(pa.table(table)),
            items=titled_items("item", list(items), list(items), self.config.items),
            item_text="{title}",
            origin=str(folder),
        )


class Example:
    """One row of a file."""

    def __init__(self, place: str, split: str, text: Preference, click: int) -> None:
        self.place = place
        self.split = split
        self.text = text
        self.click = click

    def items(self) -> list[str]:
        """All titles of the row."""
        return [*self.text.liked, *self.text.disliked, self.text.target]


def _examples(folder: Path) -> list[Example]:
    found = {split: folder / name for split, name in PARTS.items() if (folder / name).is_file()}
    if "train" not in found:
        raise DataError(f"{folder}: there is no train.json here. {contents(folder)}")
    return [
        _example(f"{path}, row {number}", split, row)
        for split, path in found.items()
        for number, row in enumerate(read_table(path).to_list(), start=1)
    ]


def _example(place: str, split: str, row: dict[str, Any]) -> Example:
    for field in ("input", "output"):
        if not isinstance(row.get(field), str):
            raise DataError(f"{place}: the field {field!r} is missing or not text. Each row needs input and output.")
    text = parse_preference(row["input"])
    if text is None:
        raise DataError(f"{place}: input {row['input'][:SHOWN]!r} is not of the form: {EXPECTED}.")
    answer = row["output"].strip().rstrip(".").lower()
    if answer not in ANSWERS:
        raise DataError(f"{place}: output {row['output'][:SHOWN]!r} is neither 'Yes.' nor 'No.'.")
    return Example(place, split, text, ANSWERS[answer])


def _from_rows(path: Path, examples: list[Example], beside: str | None) -> RawTables:
    table = read_table(path)
    if missing := [name for name in ROW_COLUMNS if name not in table.column_names]:
        raise DataError(f"{path}: no column {missing[0]!r}. There are: {', '.join(table.column_names)}.")
    if len(table) != len(examples):
        raise DataError(f"{path}: {len(table)} rows, but the JSON files beside it have {len(examples)}.")
    rows = table.select_columns(list(ROW_COLUMNS)).to_list()
    titles: dict[Any, str] = {}
    for number, (row, example) in enumerate(zip(rows, examples, strict=True), start=1):
        for item, title in _ids_and_titles(f"{path}, row {number}", row, example):
            if titles.setdefault(item, title) != title:
                raise DataError(
                    f"{path}, row {number}: item {item} is called {title!r} in {example.place}, but "
                    f"{titles[item]!r} before. The files do not belong together."
                )
    kept = table.data.select(["user_id", "item_id", "timestamp"]).replace_schema_metadata(None)
    made = {
        "history": [row["history_item_id"] for row in rows],
        "history_feedback": [[float(liked) for liked in row["history_liked"]] for row in rows],
        "click": np.asarray([example.click for example in examples]),
        "split": [example.split for example in examples],
    }
    for name, values in made.items():
        kept = kept.append_column(name, pa.array(values))
    return RawTables(
        interactions=Dataset(kept),
        items=titled_items("item_id", list(titles), list(titles.values()), beside),
        columns={"user": "user_id", "item": "item_id", "time": "timestamp"},
        item_text="{title}",
        origin=f"{path.parent} with {ROWS}",
    )


def _ids_and_titles(place: str, row: dict[str, Any], example: Example) -> list[tuple[Any, str]]:
    """The row's ids beside the text's titles, in time order of each group. Raises DataError where they
    differ."""
    text = example.text
    groups: dict[Literal[1, 0], list[Any]] = {1: [], 0: []}
    for item, liked in zip(row["history_item_id"], row["history_liked"], strict=True):
        groups[1 if liked else 0].append(item)
    told = (len(text.liked), len(text.disliked), example.click)
    if (len(groups[1]), len(groups[0]), row["liked"]) != told:
        raise DataError(
            f"{place}: {len(groups[1])} liked, {len(groups[0])} disliked, answer {row['liked']}, but "
            f"{example.place} "
            f"tells {told[0]}, {told[1]}, {told[2]}. The files do not belong together."
        )
    pairs = zip([*groups[1], *groups[0], row["item_id"]], example.items(), strict=True)
    return list(pairs)


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [InstructionSource]

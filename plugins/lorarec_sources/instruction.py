"""`instruction`: instruction-tuning JSON of the TALLRec kind, read back into histories, items and labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, hookimpl, read_table
from lorarec_sources.paths import contents, existing_file, existing_folder
from lorarec_sources.titles import joined_by_title, with_names

PARTS: dict[str, str] = {"train": "train.json", "validation": "valid.json", "test": "test.json"}
ANSWERS = {"yes": 1, "no": 0}
ROWS = "rows.parquet"
ROW_COLUMNS = ("user_id", "history_item_id", "history_liked", "item_id", "liked", "timestamp")
SHOWN = 80
FORM = re.compile(
    r"User Preference: ?(?P<liked>.*?)\n"
    r"User Unpreference: ?(?P<disliked>.*?)\n"
    r'Whether the user will like the target \w+ "(?P<target>.+)"\?',
    re.DOTALL,
)
NOTHING = ("", "None", "None.")
BETWEEN = '", "'
BY = '" written by '
EXPECTED = (
    'User Preference: "A", "B"; on the next line User Unpreference: "C"; on the next one Whether the user '
    'will like the target movie "D"?'
)


class InstructionSource(DataSource):
    """Reads a folder with train.json, and optionally valid.json and test.json: lists of {instruction, input,
    output}.

    `input` is such as: User Preference: "A", "B" / User Unpreference: "C" / Whether the user will like the
    target movie "D"? (three lines; books read `"A" written by B`), `output` is Yes. or No. The
    result has the columns item, history (liked items first, then disliked ones, each in the order of the text,
    which does not give their order in time), history_feedback (1 liked, 0 disliked), click (1 for Yes.) and
    split. An item's id is its title: two items with the same title are one item. The text names no users, so
    each row is a separate user. Items have title, name, year (null where the title names none), and the
    columns of `items`.

    With `rows: true`, rows.parquet next to the files gives, row for row, the ids (user_id, item_id), the order
    in time and the timestamp; the titles still come from the text, and the two must agree.

    Bao et al. TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with
    Recommendation. RecSys 2023.
    """

    name = "instruction"
    summary = "TALLRec's instruction/input/output JSON, read back into history, candidate and label"
    paper = "Bao et al., RecSys 2023, https://arxiv.org/abs/2305.00447"

    class Config(StrictConfig):
        """The folder of the files, and whether it has ids."""

        path: str
        """The folder with train.json, valid.json and test.json."""
        rows: bool = False
        """Read users, item ids, order and time from rows.parquet (user_id, history_item_id, history_liked,
        item_id, liked, timestamp; the rows of train, valid and test in this order)."""
        items: str | None = None
        """A parquet file with a column `title` and further columns of the items, such as MovieLens 100K's
        items.parquet with their genres: its columns are joined to the items by title."""

    config: Config

    def load(self) -> RawTables:
        """The tables. Raises DataError naming file and row of an invalid value."""
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
            items=_items("item", list(items), list(items), self.config.items),
            item_text="{title}",
            origin=str(folder),
        )


class Example:
    """One row of a file."""

    def __init__(self, location: str, split: str, text: Preference, click: int) -> None:
        self.location = location
        self.split = split
        self.text = text
        self.click = click

    def items(self) -> list[str]:
        """All titles of the row."""
        return [*self.text.liked, *self.text.disliked, self.text.target]


def _examples(folder: Path) -> list[Example]:
    paths = {split: folder / name for split, name in PARTS.items() if (folder / name).is_file()}
    if "train" not in paths:
        raise DataError(f"{folder}: there is no train.json here. {contents(folder)}")
    return [
        _example(f"{path}, row {number}", split, row)
        for split, path in paths.items()
        for number, row in enumerate(read_table(path).to_list(), start=1)
    ]


def _example(location: str, split: str, row: dict[str, Any]) -> Example:
    for field in ("input", "output"):
        if not isinstance(row.get(field), str):
            raise DataError(f"{location}: the field {field!r} is missing or not text. Each row needs input and output.")
    text = parse_preference(row["input"])
    if text is None:
        raise DataError(f"{location}: input {row['input'][:SHOWN]!r} is not of the form: {EXPECTED}.")
    answer = row["output"].strip().rstrip(".").lower()
    if answer not in ANSWERS:
        raise DataError(f"{location}: output {row['output'][:SHOWN]!r} is neither 'Yes.' nor 'No.'.")
    return Example(location, split, text, ANSWERS[answer])


def _from_rows(path: Path, examples: list[Example], extra: str | None) -> RawTables:
    table = read_table(path)
    if missing := [name for name in ROW_COLUMNS if name not in table.column_names]:
        raise DataError(f"{path}: no column {missing[0]!r}. There are: {', '.join(table.column_names)}.")
    if len(table) != len(examples):
        raise DataError(f"{path}: {len(table)} rows, but the JSON files next to it have {len(examples)}.")
    rows = table.select_columns(list(ROW_COLUMNS)).to_list()
    titles: dict[Any, str] = {}
    for number, (row, example) in enumerate(zip(rows, examples, strict=True), start=1):
        for item, title in _ids_and_titles(f"{path}, row {number}", row, example):
            if titles.setdefault(item, title) != title:
                raise DataError(
                    f"{path}, row {number}: item {item} is called {title!r} in {example.location}, but "
                    f"{titles[item]!r} in an earlier row. The files do not belong together."
                )
    kept = table.data.select(["user_id", "item_id", "timestamp"]).replace_schema_metadata(None)
    columns = {
        "history": [row["history_item_id"] for row in rows],
        "history_feedback": [[float(liked) for liked in row["history_liked"]] for row in rows],
        "click": np.asarray([example.click for example in examples]),
        "split": [example.split for example in examples],
    }
    for name, values in columns.items():
        kept = kept.append_column(name, pa.array(values))
    return RawTables(
        interactions=Dataset(kept),
        items=_items("item_id", list(titles), list(titles.values()), extra),
        columns={"user": "user_id", "item": "item_id", "time": "timestamp"},
        item_text="{title}",
        origin=f"{path.parent} with {ROWS}",
    )


def _items(id_column: str, ids: Sequence[Any], titles: Sequence[str], extra: str | None) -> Dataset:
    """The id, title, name and year of each item, and the columns of the parquet file `extra`."""
    table = with_names(pa.table({id_column: pa.array(ids), "title": pa.array(titles, pa.string())}))
    return Dataset(table if extra is None else joined_by_title(table, existing_file(extra)))


def _ids_and_titles(location: str, row: dict[str, Any], example: Example) -> list[tuple[Any, str]]:
    """The row's ids with the titles of the text, in time order within each group. Raises DataError if they
    disagree."""
    text = example.text
    groups: dict[Literal[1, 0], list[Any]] = {1: [], 0: []}
    for item, liked in zip(row["history_item_id"], row["history_liked"], strict=True):
        groups[1 if liked else 0].append(item)
    in_text = (len(text.liked), len(text.disliked), example.click)
    if (len(groups[1]), len(groups[0]), row["liked"]) != in_text:
        raise DataError(
            f"{location}: {len(groups[1])} liked, {len(groups[0])} disliked, answer {row['liked']}, but "
            f"{example.location} has {in_text[0]}, {in_text[1]}, {in_text[2]}. The files do not belong together."
        )
    pairs = zip([*groups[1], *groups[0], row["item_id"]], example.items(), strict=True)
    return list(pairs)


class Preference(NamedTuple):
    """One example's text, parsed."""

    liked: list[str]
    disliked: list[str]
    target: str


def parse_preference(text: str) -> Preference | None:
    """The titles in the text, in its order, or None if it is of another form.

    Two forms are supported. Movies: titles in quotes, separated by commas. Books: `"Title" written by Author`,
    separated by commas; the item is then called `Title written by Author`. Quotes and commas inside titles are
    kept. An empty list, or the bare word None, means no items.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        return None
    target = match["target"].strip()
    books = target.startswith('"') and BY in target
    liked, disliked = (_titles(match[part].strip(), books) for part in ("liked", "disliked"))
    name = _book(target) if books else target
    if liked is None or disliked is None or not name:
        return None
    return Preference(liked, disliked, name)


def _titles(text: str, books: bool) -> list[str] | None:
    if text in NOTHING:
        return []
    titles = _books(text) if books else _movies(text)
    return titles if titles and all(titles) else None


def _movies(text: str) -> list[str] | None:
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return None
    return [title.strip() for title in text[1:-1].split(BETWEEN)]


def _books(text: str) -> list[str] | None:
    """A comma before a quote separates two books only if the part before it already names an author."""
    if not text.startswith('"'):
        return None
    books: list[str] = []
    open_part = ""
    for part in text.split(', "'):
        open_part = f'{open_part}, "{part}' if open_part else part if not books else f'"{part}'
        if BY in open_part:
            books.append(_book(open_part))
            open_part = ""
    return None if open_part else books


def _book(text: str) -> str:
    title, _, author = text.removeprefix('"').partition(BY)
    return f"{title.strip()} written by {author.strip()}" if title.strip() and author.strip() else ""


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [InstructionSource]

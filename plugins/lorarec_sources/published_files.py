"""Files of public data sets that are no plain tables: impressions, sessions, Python literals, escaped quotes."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson
from datasets import Dataset

from lorarec.contracts import DataError, ReadOptions, cached_table, is_list, open_text, read_errors, read_table

ROWS = 50_000
"""Rows that are converted at a time."""
MIND_BEHAVIORS = ("impression_id", "user", "time", "history", "impressions")
MIND_NEWS = (
    "item", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities",
)  # fmt: skip
MIND_PARTS = {"train": "train", "dev": "test"}
"""Word in a folder's name -> part of the split; the published test part has no clicks."""
OTTO = pa.schema(
    {
        "session": pa.int64(),
        "events": pa.list_(pa.struct({"aid": pa.int64(), "ts": pa.int64(), "type": pa.string()})),
    }
)


def mind_behaviors(files: Sequence[Path]) -> Dataset:
    """One row for each item that was shown: user, item, time, click and history; with several folders also `split`, of
    which MINDsmall_dev is the test part.

    Wu et al. MIND: A Large-scale Dataset for News Recommendation. ACL 2020.
    """
    parts = [_mind_part(file) if len(files) > 1 else None for file in files]
    options = ReadOptions(sep="\t", header=MIND_BEHAVIORS)

    def read() -> Iterator[pa.Table]:
        for file, part in zip(files, parts, strict=True):
            table = _arrow(read_table(file, format="tsv", text=True, options=options))
            for start in range(0, max(table.num_rows, 1), ROWS):
                yield _shown(table.slice(start, ROWS), f"{file}", start, part)

    return cached_table(files, ["MIND", *parts], read)


def _mind_part(file: Path) -> str:
    part = next((part for word, part in MIND_PARTS.items() if word in file.parent.name.lower()), None)
    if part is None:
        raise DataError(
            f"{file}: of several folders, each is named after its part, such as MINDsmall_train and MINDsmall_dev, but "
            f"this one is {file.parent.name}. (The test part of MIND has no clicks.)"
        )
    return part


def _shown(table: pa.Table, file: str, start: int, part: str | None) -> pa.Table:
    shown = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(table["impressions"])).combine_chunks()
    row = pc.list_parent_indices(shown)
    words = pc.list_flatten(shown)
    labeled = pc.extract_regex(words, r"^(?P<item>.+)-(?P<click>[01])$")
    if labeled.null_count:
        bad = pc.index(labeled.is_null(), True).as_py()
        raise DataError(
            f"{file}, row {start + row[bad].as_py() + 1}, column 'impressions': {words[bad].as_py()!r} is not an item "
            "with -1 (clicked) or -0. The test part of MIND has no clicks: use the other parts."
        )
    times = pc.strptime(table["time"], "%m/%d/%Y %I:%M:%S %p", "s", error_is_null=True)
    if times.null_count:
        bad = pc.index(times.is_null(), True).as_py()
        value = table["time"][bad].as_py()
        raise DataError(f"{file}, row {start + bad + 1}: the time {value!r} is not as in 11/13/2019 8:36:57 AM.")
    histories = pc.utf8_split_whitespace(table["history"])
    histories = pc.if_else(
        pc.equal(pc.utf8_trim_whitespace(table["history"]), ""), pa.scalar([], histories.type), histories
    )
    columns = {
        "user": table["user"].take(row),
        "item": pc.struct_field(labeled, "item"),
        "time": times.take(row),
        "click": pc.struct_field(labeled, "click").cast(pa.int64()),
        "history": histories.take(row),
    }
    return pa.table(columns | ({} if part is None else {"split": pa.repeat(part, len(row))}))


def mind_news(files: Sequence[Path]) -> Dataset:
    """The news of all parts, each once."""
    options = ReadOptions(sep="\t", header=MIND_NEWS)
    tables = [_arrow(read_table(file, format="tsv", text=True, options=options)) for file in files]
    return first_of_each(Dataset(pa.concat_tables(tables)), "item")


def first_of_each(items: Dataset, column: str = "product_id") -> Dataset:
    """The first row of each id; rows without one are left out."""
    table = _arrow(items)
    rows = pa.table({"id": table[column], "row": pa.array(range(len(table)))}).filter(pc.is_valid(table[column]))
    first = rows.group_by("id", use_threads=False).aggregate([("row", "min")])["row_min"]
    return Dataset(table.take(first.take(pc.sort_indices(first))))


def otto_sessions(files: Sequence[Path]) -> Dataset:
    """One row for each event of a session: session, aid, time (seconds), type.

    Normann et al. OTTO Recommender Systems Dataset, 2022.
    """

    def read() -> Iterator[pa.Table]:
        try:
            options = pajson.ParseOptions(explicit_schema=OTTO, unexpected_field_behavior="ignore")
            for batch in pajson.open_json(files[0], parse_options=options):
                events = batch["events"]
                event = pc.list_flatten(events)
                columns = {
                    "session": batch["session"].take(pc.list_parent_indices(events)),
                    "aid": pc.struct_field(event, "aid"),
                    "time": pc.divide(pc.struct_field(event, "ts").cast(pa.float64()), 1000.0),
                    "type": pc.struct_field(event, "type"),
                }
                yield pa.table(columns)
        except (pa.ArrowInvalid, KeyError) as error:
            raise DataError(
                f"{files[0]}: not sessions of OTTO, one per line, such as "
                f'{{"session": 1, "events": [{{"aid": 5, "ts": 1661724000278, "type": "clicks"}}]}}: {error}'
            ) from error

    return cached_table(files, ["OTTO"], read)


def python_literals(files: Sequence[Path], fields: Sequence[str]) -> Dataset:
    """Lines that are dictionaries of Python ({u'title': u'Doom'}), not JSON: these fields of them. Nothing is run."""

    def read() -> Iterator[pa.Table]:
        with read_errors(files[0]), open_text(files[0]) as lines:
            numbered = enumerate(lines, start=1)
            yield _literal_table([], fields)
            while chunk := list(islice(numbered, ROWS)):
                yield _literal_table([_literal(line, number, files[0]) for number, line in chunk], fields)

    return cached_table(files, ["literals", *fields], read)


def _literal(line: str, number: int, file: Path) -> dict[str, Any]:
    try:
        value = ast.literal_eval(line)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"{file}, line {number}: not a dictionary of Python: {line[:60]!r}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{file}, line {number}: not a dictionary of Python: {line[:60]!r}.")
    return value


def _literal_table(rows: list[dict[str, Any]], fields: Sequence[str]) -> pa.Table:
    """All values as text; lists joined, so that a template can name them."""
    columns = {name: pa.array([_words(row.get(name)) for row in rows], pa.string()) for name in fields}
    return pa.table(columns)


def _words(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return None if value is None else str(value)


def book_crossing(files: Sequence[Path]) -> Dataset:
    """A file of Windows-1252 with semicolons, in whose quoted fields a backslash escapes.

    Ziegler et al. Improving Recommendation Lists Through Topic Diversification. WWW 2005.
    """

    def read() -> Iterator[pa.Table]:
        with files[0].open(encoding="cp1252", errors="replace", newline="") as file:
            rows = csv.reader(file, delimiter=";", escapechar="\\", doublequote=True)
            names = next(rows, [])
            yield pa.table({name: pa.array([], pa.string()) for name in names})
            while chunk := list(islice(rows, ROWS)):
                for row in chunk:
                    if len(row) != len(names):
                        raise DataError(
                            f"{files[0]}, near line {rows.line_num}: {len(row)} fields, but the header names "
                            f"{len(names)}. The row begins {';'.join(row)[:60]!r}."
                        )
                columns = zip(*chunk, strict=True)
                yield pa.table(
                    {name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True)}
                )

    return cached_table(files, ["Book-Crossing"], read)


def goodreads(files: Sequence[Path]) -> Dataset:
    """The interactions, with `date_added` ("Wed Mar 22 11:37:04 -0700 2017") as the column `time`.

    Wan and McAuley. Item Recommendation on Monotonic Behavior Chains. RecSys 2018.
    """
    table = _arrow(read_table(files))
    if "date_added" not in table.column_names:
        return Dataset(table)
    parts = pc.extract_regex(
        table["date_added"],
        r"^\w+ (?P<day>\w+ \d+ [\d:]+) (?P<zone>[+-]\d{4}) (?P<year>\d{4})$",
    )
    local = pc.strptime(
        pc.binary_join_element_wise(pc.struct_field(parts, "day"), pc.struct_field(parts, "year"), " "),
        "%b %d %H:%M:%S %Y", "s", error_is_null=True,
    )  # fmt: skip
    if local.null_count:
        row = pc.index(local.is_null(), True).as_py()
        value = table["date_added"][row].as_py()
        raise DataError(
            f"{files[0]}, row {row + 1}: date_added is {value!r}, not as in 'Wed Mar 22 11:37:04 -0700 2017'."
        )
    zone = pc.utf8_ltrim(pc.struct_field(parts, "zone"), "+").cast(pa.int64())
    hours = pc.divide(zone, 100)  # towards 0
    minutes = pc.add(pc.multiply(hours, 60), pc.subtract(zone, pc.multiply(hours, 100)))
    return Dataset(table.append_column("time", pc.subtract(local.cast(pa.int64()), pc.multiply(minutes, 60))))


def exploded_lists(files: Sequence[Path]) -> Dataset:
    """A table with a row for each event; or for each user with lists, of which an event is made for each element."""
    table = _arrow(read_table(files))
    lists = [field.name for field in table.schema if is_list(field.type)]
    if not lists:
        return Dataset(table)
    table = table.combine_chunks()
    first = lists[0]
    for name in lists:
        differs = pc.not_equal(pc.list_value_length(table[name]), pc.list_value_length(table[first]))
        if (row := pc.index(differs, True).as_py()) >= 0:
            counts = [len(table[each][row]) for each in (name, first)]
            raise DataError(
                f"{files[0]}, row {row + 1}: '{name}' has {counts[0]} elements, but '{first}' has {counts[1]}. Each "
                "list of a row has one for each of its events."
            )
    row_of = pc.list_parent_indices(table[first])
    return Dataset(
        pa.table(
            {
                name: pc.list_flatten(table[name]) if name in lists else table[name].take(row_of)
                for name in table.column_names
            }
        )
    )


def _arrow(dataset: Dataset) -> pa.Table:
    table: pa.Table = dataset.with_format("arrow")[:]
    return table

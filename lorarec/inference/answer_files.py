"""Predict and recommend from file to file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lorarec.config.recipe import Seen
from lorarec.config.strict import did_you_mean
from lorarec.data.columns import HISTORY, ITEM, USER
from lorarec.data.numbers import is_text
from lorarec.data.text_lists import BAR
from lorarec.disk import atomic_write, check_target, locked
from lorarec.errors import DataError, counted
from lorarec.inference.formulas import without_formulas
from lorarec.inference.recommender import Recommendation, Recommender, list_rows
from lorarec.inference.request_files import FileRequests, id_column, read_requests, requests_in
from lorarec.inference.requests import MissingFeedbackWarning, UnknownIdWarning
from lorarec.prediction.diversity import list_measures

NOTICES = (UnknownIdWarning, MissingFeedbackWarning)
"""Warnings about requests that commands print as notices."""
STORED = "; a run stores no users' histories: give that of each row, item ids, oldest first, joined by |"
KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
Answers = TypeVar("Answers")


def predict_file(recommender: Recommender, source: Path, target: Path, safe_csv: bool = False) -> list[str]:
    """Score the rows of a file; the same rows are written with one more column, `score` or the name that the head's
    predictor gives. Returns notices for the user.

    Columns read: `item`; `history` and `history_feedback` if present (lists; in csv joined by "|"), also under their
    names in the training data; `user.NAME` for each user column that the run reads. `safe_csv`: write no cell that a
    spreadsheet would run as a formula. Raises DataError naming file, row and column, and ArtifactError if another
    process is writing `target`.
    """
    check_output(target, source, safe_csv)
    with locked(target):
        form, column = recommender.request_format, recommender.predictor.column
        table, how = read_requests(source, form)
        names = form.names(table.column_names)
        if column in table.column_names:
            raise DataError(f"{source} already has a column '{column}'. Rename it: the answers are written there.")
        if names[ITEM] not in table.column_names:
            raise form.lacking(ITEM, table.column_names, str(source))
        items = id_column(table, names[ITEM], source)
        requests = _requests_in(recommender, table, source)
        _check_tabs(target, table)
        meant = did_you_mean(form.near(HISTORY, table.column_names), table.column_names)
        new_users = f"{source} has no column 'history': every row is scored as that of a new user.{meant}"
        scores, unknown = _with_notices(
            lambda: recommender.predict(items, requests.histories, requests.feedback, requests.users)
        )
        columns: dict[str, Any] = {name: table.column(name) for name in table.column_names}
        write_answers(target, columns | {column: pa.array(scores, from_pandas=True)}, safe_csv)  # NaN becomes null
        return [*([new_users] if requests.histories is None else []), *how, *requests.notices, *unknown]


def recommend_file(
    recommender: Recommender,
    source: Path,
    target: Path,
    k: int,
    approximate: bool = False,
    diversify: float = 0.0,
    seen: Seen | None = None,
    safe_csv: bool = False,
) -> list[str]:
    """Recommend for the histories in a file. One row is written for each item, with `row` (from 1), `user` if the file
    has it, `rank`, `item`, `title` and `score`; other columns of the requests are not repeated k times: `row` is their
    row. Returns notices for the user.

    Columns read: `history`, `history_feedback` if present, and `user.NAME` for each user column that the run reads.
    `approximate`, `diversify` and `seen` are as in `Recommender.recommend`; for diversified lists, the notices begin
    with their coverage, intra-list diversity and novelty. `safe_csv` is as in `predict_file`.
    """
    check_output(target, source, safe_csv)
    with locked(target):
        form = recommender.request_format
        table, how = read_requests(source, form)
        names = form.names(table.column_names)
        users = id_column(table, names[USER], source) if names[USER] in table.column_names else None
        requests = _requests_in(recommender, table, source)
        if requests.histories is None:
            raise form.lacking(HISTORY, table.column_names, str(source), STORED)
        histories = requests.histories
        lists, unknown = _with_notices(
            lambda: recommender.recommend(
                histories, k, requests.feedback, requests.users, seen=seen, approximate=approximate, diversify=diversify
            )
        )
        write_answers(target, _list_columns(lists, users), safe_csv)
        measured = [_measures(recommender, lists)] if diversify else []
        short = sum(len(one_list) < k for one_list in lists)
        masked = (seen or recommender.seen) == "mask"
        left = " that are not in their history" if masked else ""
        too_few = f"{counted(short, 'rows')} got fewer than {k} items: the catalog has no more items{left}."
        return [*measured, *how, *requests.notices, *unknown, *([too_few] if short else [])]


def _requests_in(recommender: Recommender, table: pa.Table, source: Path) -> FileRequests:
    ids = [recommender.catalog.table.data.column("item")]
    return requests_in(table, source, recommender.user_columns, ids, recommender.request_format)


def _list_columns(lists: Sequence[Sequence[Recommendation]], users: Sequence[str] | None) -> dict[str, Any]:
    """Columns that `recommend_file` writes, by name."""
    flat = [(row, rank, item) for row, items in enumerate(lists) for rank, item in enumerate(items, start=1)]
    return {
        "row": [row + 1 for row, _, _ in flat],
        **({"user": [users[row] for row, _, _ in flat]} if users is not None else {}),
        "rank": [rank for _, rank, _ in flat],
        "item": [item.item for _, _, item in flat],
        "title": [item.title for _, _, item in flat],
        "score": [item.score for _, _, item in flat],
    }


def _measures(recommender: Recommender, lists: Sequence[Sequence[Recommendation]]) -> str:
    """Coverage, diversity and novelty of the lists, as a sentence."""
    rows = list_rows(lists, recommender.catalog, max(map(len, lists), default=0))
    measures = list_measures(rows, recommender.vectors().cpu(), recommender.statistics.item_counts)
    return "The lists: " + ", ".join(f"{name} {value:.4f}" for name, value in measures.items()) + "."


def _with_notices(answer: Callable[[], Answers]) -> tuple[Answers, list[str]]:
    """The answers, and the messages of the warnings about the requests that were issued."""
    with warnings.catch_warnings(record=True) as caught:
        for category in NOTICES:
            warnings.simplefilter("always", category)
        answers = answer()
    for other in caught:
        if other.category not in NOTICES:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return answers, [str(warning.message) for warning in caught if warning.category in NOTICES]


def write_answers(path: Path, columns: Mapping[str, Sequence[Any]], safe_csv: bool = False) -> None:
    """Write a table, whole or not at all; with `safe_csv` without formulas."""
    table = pa.table({name: _array(values) for name, values in columns.items()})
    with atomic_write(path) as partial:
        match _kind(path):
            case ".csv" | ".tsv" as kind:
                joined = without_formulas(_joined(table)) if safe_csv else _joined(table)
                if kind == ".csv":
                    pacsv.write_csv(joined, partial)
                else:
                    _check_tabs(path, joined)
                    partial.write_text("".join(_tab_lines(joined)), encoding="utf-8")
            case ".jsonl":
                lines = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
                partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            case _:
                pq.write_table(table, partial)


def _check_tabs(path: Path, table: pa.Table) -> None:
    """Raises DataError naming the first name or value of the table that a tsv file, if `path` is one, cannot hold."""
    for name in table.column_names if _kind(path) == ".tsv" else ():
        column = table.column(name)
        texts = pa.chunked_array(
            [[name], *(column.cast(pa.large_string()).chunks if is_text(column.type) else [])], pa.large_string()
        )
        broken = pc.index(pc.match_substring_regex(texts, r"[\t\n\r]"), pa.scalar(True)).as_py()
        if broken >= 0:
            value = texts[broken].as_py()[:80]
            raise DataError(
                f"{path}, column '{name}': {value!r} has a tab or line end, which a tsv file cannot hold. Use .csv."
            )


def _tab_lines(table: pa.Table) -> Iterator[str]:
    """The lines of a tsv file as lorarec reads it, in which quotes are ordinary characters."""
    texts = [column.cast(pa.large_string()).fill_null("") for column in table.columns]
    yield "\t".join(table.column_names) + "\n"
    for row in zip(*(column.to_pylist() for column in texts), strict=True):
        yield "\t".join(row) + "\n"


def check_output(path: Path, source: Path, safe_csv: bool) -> None:
    """Raises LorarecError, before any work is done, if answers to the requests in `source` could not be written to
    `path`."""
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder. Name a file for the answers.")
    kind = _kind(path)
    if safe_csv and kind not in (".csv", ".tsv"):
        raise DataError(f"{path}: --safe-csv does nothing for {kind} files. Leave it out.")
    if not os.path.isdir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent}. Create it, or name another file.")
    check_target(path)
    if path.exists() and os.path.exists(source) and path.samefile(source):
        raise DataError(f"{path} is the file of the requests itself. Name another file for the answers.")


def _kind(path: Path) -> str:
    if path.suffix not in KINDS:
        raise DataError(f"{path}: '{path.suffix}' files are not supported. Use {', '.join(KINDS)}.")
    return path.suffix


def _array(values: Sequence[Any]) -> pa.Array:
    return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)


def _joined(table: pa.Table) -> pa.Table:
    """The table with lists joined to text, because csv has no lists."""
    for index, field in enumerate(table.schema):
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            texts = [BAR.join(map(str, value or [])) for value in table.column(index).to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts))
    return table

"""Predict and recommend from file to file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lorarec.artifact.answers import Recommendation, UnknownIdWarning
from lorarec.artifact.recommender import Recommender
from lorarec.artifact.request_files import (
    as_read,
    check_output,
    feedback_column,
    id_column,
    list_column,
    read_requests,
    write_answers,
)
from lorarec.errors import DataError
from lorarec.prediction.diversity import list_measures

PREFIX = "user."
"""Begins the columns of a request file that hold what is known of its users, as in a template: user.age."""


def predict_file(recommender: Recommender, source: Path, target: Path) -> list[str]:
    """Answer about the rows of a file; the same rows come out with one more column, `score` or what the head's
    predictor calls it. Returns what must be told.

    Columns read: `item`; `history` and `history_feedback` where there are any (lists; in csv joined by "|");
    `user.NAME` for each column that the run reads of users. Raises DataError naming file, row and column.
    """
    check_output(target)
    table, column = read_requests(source), recommender.predictor.column
    if column in table.column_names:
        raise DataError(f"{source}: has a column '{column}' already. Rename it: the answers go there.")
    histories = list_column(table, "history", source) if "history" in table.column_names else None
    with _told() as notices:
        if histories is None:
            notices.append(f"{source} has no column 'history': every row is scored as one of a new user.")
        items = id_column(table, "item", source)
        feedback = None
        if histories is not None:
            feedback = _feedback(recommender, table, source, histories, notices)
        found = recommender.predict(items, histories, feedback, _users(recommender, table, source, notices))
    answers: dict[str, Any] = {name: table.column(name) for name in table.column_names}
    write_answers(target, answers | {column: pa.array(found, from_pandas=True)})  # NaN is nothing
    return notices


def recommend_file(
    recommender: Recommender, source: Path, target: Path, k: int, approximate: bool = False, diversify: float = 0.0
) -> list[str]:
    """Recommend for the histories in a file: one row an item, with `row` (from 1), `user` where the file has it,
    `rank`, `item`, `title` and `score`. Returns what must be told.

    Columns read: `history`, `history_feedback` where there is any, and `user.NAME` for each column that the run reads
    of users. `approximate`: by an index, as
    `Recommender.recommend` says, as is what `diversify` weighs. What is told begins with how the lists are in
    coverage, intra-list diversity and novelty, where they were diversified.
    """
    check_output(target)
    table = read_requests(source)
    users = id_column(table, "user", source) if "user" in table.column_names else None
    with _told() as notices:
        histories = list_column(table, "history", source)
        feedback = _feedback(recommender, table, source, histories, notices)
        known = _users(recommender, table, source, notices)
        answers = recommender.recommend(histories, k, feedback, known, approximate=approximate, diversify=diversify)
    if diversify:
        notices.insert(0, _measured(recommender, answers))
    short = sum(len(answer) < k for answer in answers)
    if short:
        notices.append(
            f"{short} rows got fewer than {k} items: there are no more in the catalogue than they have seen."
        )
    flat = [(row, rank, found) for row, answer in enumerate(answers) for rank, found in enumerate(answer, start=1)]
    columns: dict[str, Any] = {
        "row": [row + 1 for row, _, _ in flat],
        **({"user": [users[row] for row, _, _ in flat]} if users is not None else {}),
        "rank": [rank for _, rank, _ in flat],
        "item": [found.item for _, _, found in flat],
        "title": [found.title for _, _, found in flat],
        "score": [found.score for _, _, found in flat],
    }
    write_answers(target, columns)
    return notices


def _measured(recommender: Recommender, answers: list[list[Recommendation]]) -> str:
    """Coverage, diversity and novelty of lists, in words."""
    lists = np.full((len(answers), max(map(len, answers), default=0)), -1)
    for row, answer in zip(lists, answers, strict=True):
        row[: len(answer)] = [recommender.catalog.rows[found.item] for found in answer]
    found = list_measures(lists, recommender.vectors().cpu(), recommender.statistics.item_counts)
    return "The lists: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()) + "."


def _users(recommender: Recommender, table: pa.Table, source: Path, notices: list[str]) -> list[dict[str, Any]] | None:
    """What the file says of its users, row by row; a notice of what the run reads and the file lacks, and of the
    opposite."""
    read = {f"{PREFIX}{name}": name for name in recommender.user_columns}
    lacking = [column for column in read if column not in table.column_names]
    idle = [column for column in table.column_names if column.startswith(PREFIX) and column not in read]
    if lacking:
        notices.append(f"{source} has no column '{lacking[0]}': users are read without what the run learned of them.")
    if idle:
        notices.append(f"{source}: the run reads nothing called {', '.join(idle)}.")
    if not read:
        return None
    there = {column: as_read(table.column(column)).to_pylist() for column in read if column in table.column_names}
    return [{read[column]: values[row] for column, values in there.items()} for row in range(table.num_rows)]


def _feedback(
    recommender: Recommender, table: pa.Table, source: Path, histories: list[list[str]], notices: list[str]
) -> list[list[float]] | None:
    """What users thought of their histories; a notice where nothing says so and the head learnt from such."""
    found = feedback_column(table, "history_feedback", source, histories)
    if found is None and recommender.head.label() in recommender.head.needs():
        notices.append(
            f"{source} has no column 'history_feedback': histories are read without what users thought of the items."
        )
    return found


@contextmanager
def _told() -> Iterator[list[str]]:
    """Collect warnings about unknown ids as sentences."""
    notices: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnknownIdWarning)
        yield notices
    notices += [str(warning.message) for warning in caught if warning.category is UnknownIdWarning]
    for other in caught:
        if other.category is not UnknownIdWarning:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)

"""`reviews`: written reviews, each a separate item, in folds by user."""

from __future__ import annotations

import hashlib
import html
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from pydantic import Field, model_validator

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, hookimpl, read_table
from lorarec_sources.paths import existing_file, expanded, missing_field

BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


class ReviewsSource(DataSource):
    """Reads one file with one review per row: author, time, stars, and texts.

    Stars are predicted from the review itself, so each review is a separate item, named by its row, whose text is the
    review's title and text; the item table has all columns of the file for `data.item_text` (except one called item,
    which the ids replace), with HTML entities and line breaks decoded. The result has user, item, time, rating,
    history (the user's reviews written strictly before, oldest first), history_feedback (their stars) and split. No
    user is in two parts, whatever the order of the rows, since a hash of the user's id decides the part.

    Hou et al. Bridging Language and Items for Retrieval and Recommendation. arXiv 2403.03952, 2024 (Amazon Reviews
    2023).
    """

    name = "reviews"
    summary = "written reviews with stars, each a separate item, in folds by user"

    class Config(StrictConfig):
        """The file, the names of its columns, and the test fold."""

        path: str
        """A csv, tsv, json, jsonl or parquet file, or the folder that contains reviews.parquet."""
        user: str = "user_id"
        """Column: who wrote the review."""
        time: str = "timestamp_ms"
        """Column: when, as a number that grows with time."""
        rating: str = "rating"
        """Column of stars."""
        folds: Annotated[int, Field(ge=2)] = 5
        """Number of folds that the users are split into."""
        fold: Annotated[int, Field(ge=1)] = 1
        """The test fold, from 1 to `folds`."""
        validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
        """Share of the other folds' users that are held out for validation."""

        @model_validator(mode="after")
        def _fold_exists(self) -> ReviewsSource.Config:
            if self.fold > self.folds:
                raise ValueError(f"there is no fold {self.fold}: folds={self.folds}")
            return self

    config: Config

    def load(self) -> RawTables:
        """Reviews both as events and as items. Raises DataError naming file, row and column of an invalid value."""
        config = self.config
        path = expanded(config.path)
        file = existing_file(path / "reviews.parquet" if path.is_dir() else path)
        table = read_table(file)
        for option, name in (("user", config.user), ("time", config.time), ("rating", config.rating)):
            if name not in table.column_names:
                raise missing_field(str(file), option, name, table.column_names)
        users, times, stars = (_column(table, file, name) for name in (config.user, config.time, config.rating))
        ids = [f"review {row}" for row in range(1, len(table) + 1)]
        earlier = _earlier(users, _numbers(times, file, config.time))
        ratings = _numbers(stars, file, config.rating)
        events = {
            "user": users,
            "item": ids,
            "time": times,
            "rating": stars,
            "history": pa.array([[ids[row] for row in rows] for rows in earlier], pa.list_(pa.string())),
            "history_feedback": pa.array([ratings[rows] for rows in earlier], pa.list_(pa.float64())),
            "split": [self._part(str(user)) for user in users],
        }
        items = pa.table({"item": ids} | {n: _plain(table, n) for n in table.column_names if n != "item"})
        return RawTables(
            Dataset(pa.table(events)), Dataset(items), item_text="{review_title}. {review_text}", origin=str(file)
        )

    def _part(self, user: str) -> str:
        if int(_share(user, "fold") * self.config.folds) + 1 == self.config.fold:
            return "test"
        return "validation" if _share(user, "validation") < self.config.validation else "train"


def _share(user: str, purpose: str) -> float:
    """A number from 0 to 1 that depends on the user's id and the purpose alone, on any machine."""
    digest = hashlib.sha256(f"{purpose} {user}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _earlier(users: list[Any], times: np.ndarray) -> list[list[int]]:
    """For each row, its user's rows of strictly earlier times, oldest first."""
    order = np.argsort(times, kind="stable")
    rows_of: dict[Any, list[int]] = {}
    for row in order.tolist():
        rows_of.setdefault(users[row], []).append(row)
    return [[row for row in rows_of[user] if times[row] < time] for user, time in zip(users, times, strict=True)]


def _column(table: Dataset, file: Path, name: str) -> list[Any]:
    values: list[Any] = table.data.column(name).to_pylist()
    missing = next((row for row, value in enumerate(values, start=1) if value is None), None)
    if missing is not None:
        raise DataError(f"{file}, row {missing}, column '{name}': the value is missing. Correct or remove the row.")
    return values


def _numbers(values: list[Any], file: Path, name: str) -> np.ndarray:
    numbers = []
    for row, value in enumerate(values, start=1):
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise DataError(
                f"{file}, row {row}, column '{name}': {value!r} is not a number. Correct or remove the row."
            )
        numbers.append(number)
    return np.array(numbers, np.float64)


def _plain(table: Dataset, name: str) -> pa.ChunkedArray | pa.Array:
    """A text column with HTML decoded; other columns unchanged."""
    column = table.data.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.combine_chunks()
    words = (None if text is None else html.unescape(BREAK.sub(" ", text)) for text in column.to_pylist())
    return pa.array(words, pa.string())


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [ReviewsSource]

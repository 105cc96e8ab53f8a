"""Read the files of GroupLens: u.data and related files (100K), .dat (1M, 10M), .csv (newer)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from datasets import Dataset

from lorarec.contracts import DataError, cached_table, read_table
from lorarec_sources.paths import existing_file

RATING_COLUMNS = {
    "user_id": pa.int64(),
    "item_id": pa.int64(),
    "rating": pa.float64(),
    "timestamp": pa.int64(),
}
RATING_FILES = ("u.data", "ratings.dat", "ratings.csv")
SPLITS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
# The order of the flags in u.item, by 100K's u.genre.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRES = "(no genres listed)"
BLOCK = 1 << 24


class Tables(NamedTuple):
    """The tables of a folder."""

    ratings: Dataset
    items: Dataset
    users: Dataset | None


def is_movielens(folder: Path) -> bool:
    """Whether one of GroupLens's rating files is in the folder."""
    return any((folder / name).is_file() for name in RATING_FILES)


def read_folder(folder: Path) -> Tables:
    """Ratings, items and users of a folder that `is_movielens`. Raises DataError naming file and line."""
    if (folder / "u.data").is_file():
        return _read_100k(folder)
    if (folder / "ratings.dat").is_file():
        return _read_dat(folder)
    return _read_csv(folder)


def _read_100k(folder: Path) -> Tables:
    data, items = folder / "u.data", existing_file(folder / "u.item")
    tests = {name: folder / f"{name}.test" for name in SPLITS if (folder / f"{name}.test").is_file()}
    names = ["item_id", "title", "release_date", "video_release_date", "imdb_url", *GENRES]
    rows = _rows(items, "|", names)
    ratings = cached_table([data, *tests.values()], ["100k"], lambda: _with_tests(data, tests))
    texts = {name: [row[column] or None for row in rows] for column, name in enumerate(names[:5]) if column}
    genres = [[genre for genre, flag in zip(GENRES, row[5:], strict=True) if flag == "1"] for row in rows]
    table = {"item_id": _whole(items, rows, 0), **texts, "genres": pa.array(genres, pa.list_(pa.string()))}
    users = folder / "u.user"
    columns = ["user_id", "age", "gender", "occupation", "zip_code"]
    return Tables(ratings, Dataset(pa.table(table)), _users(users, "|", columns))


def _with_tests(data: Path, tests: dict[str, Path]) -> Iterator[pa.Table]:
    """All of u.data, with a column of true and false for each split's test file."""
    table = pa.concat_tables(_rating_tables(data, b"\t"))
    pairs = _pairs(table)
    for name, path in tests.items():
        test = _pairs(pa.concat_tables(_rating_tables(path, b"\t")))
        unknown = np.flatnonzero(~np.isin(test, pairs))
        if len(unknown):
            raise DataError(
                f"{path}, line {unknown[0] + 1}: this user and item are not in {data.name}. The two "
                "files do not belong together; download the set again."
            )
        table = table.append_column(f"{name}_test", pa.array(np.isin(pairs, test)))
    yield table


def _pairs(table: pa.Table) -> np.ndarray:
    users, items = (table.column(name).to_numpy() for name in ("user_id", "item_id"))
    return np.asarray(users * (1 << 32) + items)


def _read_dat(folder: Path) -> Tables:
    data, items = folder / "ratings.dat", existing_file(folder / "movies.dat")
    ratings = cached_table([data], ["dat"], lambda: _rating_tables(data, b"::"))
    columns = ["user_id", "gender", "age", "occupation", "zip_code"]
    return Tables(ratings, _movies(items, _rows(items, "::", ["item_id", "title", "genres"])), _users(
        folder / "users.dat", "::", columns
    ))  # fmt: skip


def _read_csv(folder: Path) -> Tables:
    ratings = read_table(folder / "ratings.csv")
    movies = existing_file(folder / "movies.csv")
    names = {"userId": "user_id", "movieId": "item_id", "rating": "rating", "timestamp": "timestamp"}
    for path, table, required in (
        (folder / "ratings.csv", ratings, list(names)),
        (movies, read_table(movies), ["movieId", "title", "genres"]),
    ):
        if missing := [name for name in required if name not in table.column_names]:
            raise DataError(f"{path}, line 1: no column {missing[0]!r}. MovieLens has {', '.join(required)}.")
    listed = read_table(movies)
    columns = (listed.data.column(name).to_pylist() for name in ("movieId", "title", "genres"))
    rows = [[str(movie), title, genres] for movie, title, genres in zip(*columns, strict=True)]
    return Tables(ratings.rename_columns(names), _movies(movies, rows), None)


def _movies(path: Path, rows: list[list[str]]) -> Dataset:
    genres = [[] if row[2] == NO_GENRES else row[2].split("|") for row in rows]
    titles = [row[1] for row in rows]
    return Dataset(
        pa.table(
            {
                "item_id": _whole(path, rows, 0),
                "title": pa.array(titles, pa.string()),
                "genres": pa.array(genres, pa.list_(pa.string())),
            }
        )
    )


def _users(path: Path, separator: str, names: Sequence[str]) -> Dataset | None:
    if not path.is_file():
        return None
    rows = _rows(path, separator, names)
    whole = ("user_id", "age")
    columns = {
        name: _whole(path, rows, column) if name in whole else pa.array([row[column] for row in rows], pa.string())
        for column, name in enumerate(names)
    }
    return Dataset(pa.table(columns))


def _rating_tables(path: Path, separator: bytes) -> Iterator[pa.Table]:
    """Ratings, block by block; all fields are numbers, so the encoding of the text does not matter."""
    with path.open("rb") as file:
        first = 1
        empty = True
        while lines := file.readlines(BLOCK):
            empty = False
            yield _rating_table(path, first, lines, separator)
            first += len(lines)
    if empty:
        raise DataError(f"{path}: the file is empty.")


def _rating_table(path: Path, first: int, lines: list[bytes], separator: bytes) -> pa.Table:
    block = b"".join(lines).replace(separator, b"\t")
    try:
        return pacsv.read_csv(
            BytesIO(block),
            read_options=pacsv.ReadOptions(column_names=list(RATING_COLUMNS)),
            parse_options=pacsv.ParseOptions(delimiter="\t", ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(column_types=RATING_COLUMNS, null_values=[]),
        )
    except pa.ArrowInvalid as error:
        for number, line in enumerate(lines, start=first):
            if not _is_rating(line.rstrip(b"\r\n").split(separator)):
                shown = line.decode("utf-8", "replace").strip()[:60]
                raise DataError(
                    f"{path}, line {number}: {shown!r} is not user, item, rating, time, separated by {separator!r}."
                ) from error
        raise DataError(f"{path}: {error}") from error


def _is_rating(fields: Sequence[bytes]) -> bool:
    try:
        _, _, _, _ = int(fields[0]), int(fields[1]), float(fields[2]), int(fields[3])
    except (ValueError, IndexError):
        return False
    return len(fields) == 4


def _rows(path: Path, separator: str, names: Sequence[str]) -> list[list[str]]:
    """The fields of each line. UTF-8, or else Latin-1, as in the older sets. Raises DataError naming the line."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    rows = []
    for number, line in enumerate(_lines(text), start=1):
        fields = line.split(separator)
        if len(fields) != len(names):
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields separated by {separator!r}, but "
                f"{len(names)} are expected ({', '.join(names[:5])} ...). The line begins {line[:60]!r}."
            )
        rows.append(fields)
    return rows


def _lines(text: str) -> Iterable[str]:
    # Not splitlines: Latin-1 titles may have characters that it treats as line ends.
    return (line.rstrip("\r") for line in text.rstrip("\r\n").split("\n"))


def _whole(path: Path, rows: Sequence[Sequence[str]], column: int) -> pa.Array:
    numbers = []
    for number, row in enumerate(rows, start=1):
        try:
            numbers.append(int(row[column]))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {row[column]!r} is not a whole number.") from error
    return pa.array(numbers, pa.int64())

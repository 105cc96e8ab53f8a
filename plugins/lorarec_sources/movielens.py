"""`movielens`: MovieLens as GroupLens publishes it, or as parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset
from pydantic import field_validator

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, did_you_mean, hookimpl, read_table
from lorarec_sources.found import contents, existing_file, existing_folder
from lorarec_sources.movie_titles import spoken
from lorarec_sources.movielens_download import CHECKSUMS, downloaded
from lorarec_sources.movielens_folder import read_folder, recognised

COLUMNS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
ITEM_TEXT = "{name} ({year}). {genres}"
WIKI = "item_wiki.parquet"


class MovieLensSource(DataSource):
    """MovieLens 100K, 1M, 10M, or a newer one with csv files, under one set of column names for all of them.

    Ratings: user_id, item_id, rating (stars), timestamp (seconds since 1970), and where the split files of
    100K lie beside them (or in the parquet file) u1_test ... u5_test, ua_test, ub_test: true where the row is
    in that split's test file. Items: item_id, title as published, name ("The Godfather"), year, genres
    (list), and what else the files hold. Users where there are any.

    F. Maxwell Harper and Joseph A. Konstan. The MovieLens Datasets: History and Context. TiiS 5(4), 2015.
    """

    name = "movielens"
    summary = "MovieLens 100K, 1M, 10M and newer, from a folder or downloaded with a checksum"
    paper = "Harper and Konstan, TiiS 2015, https://doi.org/10.1145/2827872"

    class Config(StrictConfig):
        """Where the folder is, or which set to fetch."""

        path: str | None = None
        """A folder with u.data and u.item, with ratings.dat and movies.dat, with ratings.csv and movies.csv,
        or with ratings.parquet and items.parquet (preferred); the original files may lie in its sub-folder
        `raw`."""
        variant: str = "ml-100k"
        """What to download where no `path` is given: ml-100k or ml-1m."""
        wiki: bool = False
        """Join the column `wiki_summary` of item_wiki.parquet (title, wiki_summary) to the items, and end the
        items' text with it."""

        @field_validator("variant")
        @classmethod
        def _pinned(cls, variant: str) -> str:
            if variant not in CHECKSUMS:
                raise ValueError(
                    f"{variant!r} cannot be downloaded here.{did_you_mean(variant, CHECKSUMS)} With a "
                    "checksum there "
                    f"are: {', '.join(CHECKSUMS)}. (The ml-latest sets change over time.) Fetch "
                    "others by hand and "
                    "set `path` to the folder."
                )
            return variant

    config: Config

    def load(self) -> RawTables:
        """The tables. Raises DataError naming file and line, or what the folder lacks, or a failed
        download."""
        given = self.config.path
        folder = existing_folder(given) if given is not None else downloaded(self.config.variant)
        if (folder / "ratings.parquet").is_file():
            ratings = read_table(folder / "ratings.parquet")
            items = read_table(existing_file(folder / "items.parquet"))
            users = read_table(folder / "users.parquet") if (folder / "users.parquet").is_file() else None
        else:
            where = next((place for place in (folder, folder / "raw") if recognised(place)), None)
            if where is None:
                raise DataError(
                    f"{folder}: not a MovieLens folder: neither u.data, ratings.dat, ratings.csv nor "
                    f"ratings.parquet is in it, nor in its sub-folder raw. {contents(folder)}"
                )
            ratings, items, users = read_folder(where)
        items = _with_names(items, folder)
        if self.config.wiki:
            items = _with_wiki(items, existing_file(folder / WIKI))
        return RawTables(
            interactions=ratings,
            items=items,
            users=users,
            columns=COLUMNS,
            item_text=ITEM_TEXT + (". {wiki_summary}" if self.config.wiki else ""),
            origin=str(folder),
        )


def _with_names(items: Dataset, folder: Path) -> Dataset:
    """Add name and year."""
    for column in ("item_id", "title"):
        if column not in items.column_names:
            hint = did_you_mean(column, items.column_names)
            raise DataError(f"{folder}: the items lack the column {column!r}.{hint} There are: {items.column_names}.")
    parts = [spoken(title or "") for title in _values(items, "title")]
    table = _plain(items)
    table = table.append_column("name", pa.array([part.name for part in parts], pa.string()))
    return Dataset(table.append_column("year", pa.array([part.year for part in parts], pa.int64())))


def _with_wiki(items: Dataset, path: Path) -> Dataset:
    """Add wiki_summary, by title; null where there is none."""
    wiki = read_table(path)
    for column in ("title", "wiki_summary"):
        if column not in wiki.column_names:
            raise DataError(f"{path}: lacks the column {column!r}. There are: {', '.join(wiki.column_names)}.")
    summaries = dict(zip(_values(wiki, "title"), _values(wiki, "wiki_summary"), strict=True))
    found = [summaries.get(title) for title in _values(items, "title")]
    return Dataset(_plain(items).append_column("wiki_summary", pa.array(found, pa.string())))


def _values(dataset: Dataset, column: str) -> list[Any]:
    return list(dataset.data.column(column).to_pylist())


def _plain(dataset: Dataset) -> pa.Table:
    """The Arrow table, without the note on features, which a new column would make stale."""
    return dataset.with_format("arrow")[:].replace_schema_metadata(None)


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [MovieLensSource]

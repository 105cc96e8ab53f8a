"""`movielens`: MovieLens as GroupLens publishes it, or as parquet files."""

from __future__ import annotations

import hashlib
import io
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import pyarrow as pa
from datasets import Dataset
from pydantic import field_validator

from lorarec.contracts import (
    DataError,
    DataSource,
    RawTables,
    StrictConfig,
    cached,
    did_you_mean,
    hookimpl,
    read_table,
)
from lorarec_sources.movielens_files import is_movielens, read_folder
from lorarec_sources.paths import contents, existing_file, existing_folder
from lorarec_sources.titles import joined_by_title, with_names

COLUMNS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
ITEM_TEXT = "{name} ({year}). {genres}"
WIKI = "item_wiki.parquet"
ADDRESS = "https://files.grouplens.org/datasets/movielens/{variant}.zip"
CHECKSUMS = {"ml-100k": "0e33842e24a9c977be4e0107933c0723", "ml-1m": "c4d9eecfca2ab87c1945afe126590906"}
"""MD5, as GroupLens publishes it with each archive."""
PATIENCE = 20.0
"""Seconds without a response after which the server counts as unreachable."""


class MovieLensSource(DataSource):
    """MovieLens 100K, 1M, 10M, or a newer one with csv files, with the same column names for all of them.

    Ratings: user_id, item_id, rating (stars), timestamp (seconds since 1970), and where the split files of
    100K are in the folder (or in the parquet file) u1_test ... u5_test, ua_test, ub_test: true if the row is in
    that split's test file. Items: item_id, title as published, name ("The Godfather"), year, genres (list), and
    the other columns of the files. Users if there are any.

    F. Maxwell Harper and Joseph A. Konstan. The MovieLens Datasets: History and Context. TiiS 5(4), 2015.
    """

    name = "movielens"
    summary = "MovieLens 100K, 1M, 10M and newer, from a folder or downloaded with a checksum"
    paper = "Harper and Konstan, TiiS 2015, https://doi.org/10.1145/2827872"

    class Config(StrictConfig):
        """The folder, or the data set to download."""

        path: str | None = None
        """A folder with u.data and u.item, with ratings.dat and movies.dat, with ratings.csv and movies.csv,
        or with ratings.parquet and items.parquet (preferred); the original files may be in its sub-folder
        `raw`."""
        variant: str = "ml-100k"
        """What to download if no `path` is given: ml-100k or ml-1m."""
        wiki: bool = False
        """Join the column `wiki_summary` of item_wiki.parquet (title, wiki_summary) to the items, and append it to the
        items' text."""

        @field_validator("variant")
        @classmethod
        def _pinned(cls, variant: str) -> str:
            if variant not in CHECKSUMS:
                raise ValueError(
                    f"{variant!r} cannot be downloaded automatically.{did_you_mean(variant, CHECKSUMS)} Sets with a "
                    f"known checksum: {', '.join(CHECKSUMS)}. (The ml-latest sets change over time.) Download others "
                    "manually and set `path` to the folder."
                )
            return variant

    config: Config

    def load(self) -> RawTables:
        """The tables. Raises DataError naming file and line, or what the folder lacks, or a failed download."""
        if self.config.path is not None:
            folder = existing_folder(self.config.path)
            return self._read(folder, str(folder))
        with tempfile.TemporaryDirectory(prefix="lorarec-") as temporary:
            folder = unpacked(self.config.variant, Path(temporary))
            return self._read(folder, ADDRESS.format(variant=self.config.variant))

    def _read(self, folder: Path, origin: str) -> RawTables:
        if (folder / "ratings.parquet").is_file():
            ratings = read_table(folder / "ratings.parquet")
            items = read_table(existing_file(folder / "items.parquet"))
            users = read_table(folder / "users.parquet") if (folder / "users.parquet").is_file() else None
        else:
            original = next((sub for sub in (folder, folder / "raw") if is_movielens(sub)), None)
            if original is None:
                raise DataError(
                    f"{folder}: not a MovieLens folder: neither u.data, ratings.dat, ratings.csv nor "
                    f"ratings.parquet is in it, nor in its sub-folder raw. {contents(folder)}"
                )
            ratings, items, users = read_folder(original)
        titled = _with_names(items, folder)
        if self.config.wiki:
            titled = _with_wiki(titled, existing_file(folder / WIKI))
        return RawTables(
            interactions=ratings,
            items=Dataset(titled),
            users=users,
            columns=COLUMNS,
            item_text=ITEM_TEXT + (". {wiki_summary}" if self.config.wiki else ""),
            origin=origin,
        )


def unpacked(variant: str, folder: Path) -> Path:
    """The set's folder, unpacked in `folder` from the archive in the cache, which is downloaded if it is not there yet.

    Raises DataError if the server cannot be reached or the checksum differs.
    """
    archive = cached("movielens", CHECKSUMS[variant], lambda sink: sink.write(_fetched(variant)))
    with zipfile.ZipFile(io.BytesIO(archive.content)) as content:
        content.extractall(folder)
    return folder / variant


def _fetched(variant: str) -> bytes:
    """The bytes of the archive."""
    address = ADDRESS.format(variant=variant)
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as response:
            archive: bytes = response.read()
    except OSError as error:  # URLError, HTTPError and timeouts are OSErrors
        raise DataError(
            f"{address}: could not be downloaded: {error}. Download and unpack it manually and set "
            "data.source.path=FOLDER."
        ) from error
    digest = hashlib.md5(archive).hexdigest()
    if digest != CHECKSUMS[variant]:
        raise DataError(
            f"{address}: the archive's MD5 is {digest}, but {CHECKSUMS[variant]} is expected. It may be truncated, or "
            "the server's file has changed. Try again, or set a folder you trust: data.source.path=FOLDER."
        )
    return archive


def _with_names(items: Dataset, folder: Path) -> pa.Table:
    """The items with name and year, as an Arrow table without metadata on features, which new columns make stale."""
    for column in ("item_id", "title"):
        if column not in items.column_names:
            hint = did_you_mean(column, items.column_names)
            raise DataError(f"{folder}: the items lack the column {column!r}.{hint} There are: {items.column_names}.")
    return with_names(items.with_format("arrow")[:].replace_schema_metadata(None))


def _with_wiki(items: pa.Table, path: Path) -> pa.Table:
    """The items with wiki_summary, by title; null where there is none."""
    joined = joined_by_title(items, path)
    if "wiki_summary" not in joined.column_names:
        raise DataError(f"{path}: no column 'wiki_summary', which `wiki: true` joins to the items.")
    return joined


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [MovieLensSource]

"""`published`: public data sets, in the files in which they are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from datasets import Dataset

from lorarec.contracts import DataError, DataSource, RawTables, ReadOptions, StrictConfig, hookimpl, read_table
from lorarec_sources.paths import contents, existing_folder, expanded
from lorarec_sources.published_files import (
    book_crossing,
    exploded_lists,
    first_of_each,
    goodreads,
    mind_behaviors,
    mind_news,
    otto_sessions,
    python_literals,
)

Reader = Callable[[Sequence[Path]], Dataset]


@dataclass(frozen=True)
class Layout:
    """The files of one data set, and what their columns are."""

    title: str
    files: tuple[str, ...]
    """Names of the file of interactions, as patterns; a folder holds one file that has one of them."""
    columns: Mapping[str, str]
    """lorarec's name -> the file's."""
    items: tuple[str, ...] = ()
    """Names of the file of items; a folder without one is not recognized."""
    item_text: str | None = None
    read: Reader = read_table
    read_items: Reader = read_table
    parts: bool = False
    """Whether several files of interactions are parts of one set."""
    notes: tuple[str, ...] = ()


def _options(**options: Any) -> Reader:
    return lambda paths: read_table(paths, options=ReadOptions(**options))


STEAM_REVIEWS = ("username", "product_id", "date", "hours", "text")
STEAM_GAMES = ("id", "app_name", "title", "genres", "tags", "developer", "release_date")
LAYOUTS = (
    Layout(
        title="MIND",
        files=("behaviors.tsv", "*/behaviors.tsv"),
        columns={name: name for name in ("user", "item", "time", "click", "history")},
        items=("news.tsv", "*/news.tsv"),
        item_text="{title}",
        read=mind_behaviors,
        read_items=mind_news,
        parts=True,
    ),
    Layout(
        title="Amazon Reviews 2023",
        files=("[!m]*.jsonl", "[!m]*.jsonl.gz"),
        columns={"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp"},
        items=("meta_*.jsonl", "meta_*.jsonl.gz"),
        item_text="{title}",
    ),
    Layout(
        title="Yelp Open Dataset",
        files=("yelp_academic_dataset_review.json*",),
        columns={"user": "user_id", "item": "business_id", "rating": "stars", "time": "date"},
        items=("yelp_academic_dataset_business.json*",),
        item_text="{name} ({categories})",
    ),
    Layout(
        title="Steam reviews",
        files=("steam_reviews.json*", "steam_new.json*"),
        columns={"user": "username", "item": "product_id", "time": "date"},
        items=("steam_games.json*",),
        item_text="{app_name} ({genres})",
        read=lambda paths: python_literals(paths, STEAM_REVIEWS),
        read_items=lambda paths: first_of_each(python_literals(paths, STEAM_GAMES).rename_column("id", "product_id")),
        notes=("Games without an id, and further lines of a game, are left out.",),
    ),
    Layout(
        title="Steam recommendations (Kaggle)",
        files=("recommendations.csv*",),
        columns={"user": "user_id", "item": "app_id", "click": "is_recommended", "time": "date"},
        items=("games.csv*",),
        item_text="{title}",
    ),
    Layout(
        title="Book-Crossing",
        files=("BX-Book-Ratings.csv",),
        columns={"user": "User-ID", "item": "ISBN", "rating": "Book-Rating"},
        items=("BX-Books.csv",),
        item_text="{Book-Title} by {Book-Author}",
        read=book_crossing,
        read_items=book_crossing,
        notes=("A rating of 0 means that the user gave none.",),
    ),
    Layout(
        title="Book-Crossing (Kaggle)",
        files=("Ratings.csv*",),
        columns={"user": "User-ID", "item": "ISBN", "rating": "Book-Rating"},
        items=("Books.csv*",),
        item_text="{Book-Title} by {Book-Author}",
        notes=("A rating of 0 means that the user gave none.",),
    ),
    Layout(
        title="Goodreads",
        files=("goodreads_interactions*.json*",),
        columns={"user": "user_id", "item": "book_id", "rating": "rating", "time": "time"},
        items=("goodreads_books*.json*",),
        item_text="{title}",
        read=goodreads,
        notes=("A rating of 0 means that the user gave none.",),
    ),
    Layout(
        title="last.fm 1K",
        files=("userid-timestamp-artid-artname-traid-traname.tsv*",),
        columns={"user": "user", "item": "artist", "time": "time"},
        read=_options(sep="\t", header=("user", "time", "artist_id", "artist", "track_id", "track")),
    ),
    Layout(
        title="OTTO",
        files=("train.jsonl", "otto-recsys-train.jsonl"),
        columns={"user": "session", "item": "aid", "time": "time"},
        read=otto_sessions,
        notes=("The column `type` has the type of each event: data.columns.event=type reads it.",),
    ),
    Layout(
        title="Yambda",
        files=("multi_event.parquet", "listens.parquet", "likes.parquet"),
        columns={"user": "uid", "item": "item_id", "time": "timestamp"},
        read=exploded_lists,
    ),
    Layout(
        title="H&M",
        files=("transactions_train.csv*",),
        columns={"user": "customer_id", "item": "article_id", "time": "t_dat"},
        items=("articles.csv*",),
        item_text="{prod_name} ({product_type_name}, {colour_group_name}). {detail_desc}",
    ),
)


class PublishedSource(DataSource):
    """Reads a folder of a public data set, which the names of its files tell: LAYOUTS lists them."""

    name = "published"
    summary = "public data sets as they are published: MIND, Amazon 2023, Yelp, Steam, Book-Crossing, Goodreads, ..."

    class Config(StrictConfig):
        """Where the files are."""

        path: str
        """The folder of the data set; or its file of interactions, where the folder has several."""

    config: Config

    def load(self) -> RawTables:
        """The tables, with the files' own column names. Raises DataError naming what is missing."""
        path = expanded(self.config.path)
        folder, only = (path.parent, path) if path.is_file() else (existing_folder(path), None)
        layout, files, item_files = _recognized(folder, only)
        if layout.parts:
            item_files = [file for file in item_files if file.parent in {events.parent for events in files}]
        return RawTables(
            interactions=layout.read(files),
            items=layout.read_items(item_files) if item_files else None,
            columns=dict(layout.columns),
            item_text=layout.item_text,
            origin=", ".join(map(str, files)),
            items_origin=", ".join(map(str, item_files)),
            notes=(f"{folder}: read as {layout.title}, by the names of its files.", *layout.notes),
        )


def _recognized(folder: Path, only: Path | None) -> tuple[Layout, list[Path], list[Path]]:
    """The layout of a folder, its files of interactions (only this one, where it is named) and of items."""
    fits = []
    for layout in LAYOUTS:
        files, items = _matches(folder, layout.files), _matches(folder, layout.items)
        if only is not None:
            files = [only] if any(fnmatchcase(only.name, pattern) for pattern in layout.files) else []
        if files and (items or not layout.items):
            fits.append((layout, files, items))
    if not fits:
        expected = "; ".join(
            f"{layout.title}: {' and '.join(names[0] for names in (layout.files, layout.items) if names)}"
            for layout in LAYOUTS
        )
        raise DataError(
            f"{only or folder}: not the files of a public data set that is known. {contents(folder)} Expected are, by "
            f"name, {expected}. Use the source `files` for others."
        )
    for layout, files, items in fits:
        if len(fits) > 1 or (not layout.parts and max(len(files), len(items)) > 1):
            names = ", ".join(file.name for _, files, items in fits for file in [*files, *items])
            raise DataError(
                f"{folder}: several files could be meant: {names}. Set `path` to the file of interactions, and leave "
                "the items of one data set in the folder."
            )
    return fits[0]


def _matches(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [PublishedSource]

"""`files`: interactions, items and users from csv, tsv, json, jsonl or parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from datasets import Dataset
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from lorarec.contracts import (
    SUFFIXES,
    DataError,
    DataSource,
    ParquetTable,
    RawTables,
    ReadOptions,
    StrictConfig,
    hookimpl,
    joined_tables,
    known_encoding,
    read_events,
    read_table,
    reading_notes,
    table_origin,
    table_rows,
)
from lorarec_sources.paths import contents, existing_files, existing_folder, one_of

INTERACTIONS = ("interactions", "ratings")
ITEMS = ("items", "movies")
USERS = ("users",)
SplitName = Literal["train", "validation", "test"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Table(StrictConfig):
    """The files of one table, and how they are read. What is not set is detected, and named in the data report."""

    path: str | Names
    """A file, a folder of files, a pattern such as events/*.parquet, or a list of these: all of one format and with the
    same columns, joined in the order of the list, and within a folder or pattern by name."""
    sep: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between the fields of csv and tsv files; comma, semicolon, tab and `|` are detected."""
    encoding: str | None = None
    """Encoding of text files, such as latin-1 or cp1252; UTF-8, or UTF-16 by its byte order mark, by default."""
    header: Names | None = None
    """Names of the columns of csv and tsv files that have no header line."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of numbers in csv and tsv files of interactions, also of those that separate thousands (1.234,5);
    detected by default where all rows agree."""
    on_bad_lines: Literal["error", "skip"] | None = None
    """Rows of csv and tsv files with too many or too few fields: refused by line (error, the default), or left out and
    counted in the data report."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            known_encoding(encoding)
        return encoding


def _form(value: Any) -> str:
    """Which of the forms of `Files` or `Parts` a setting has."""
    if isinstance(value, Mapping):
        return "table" if set(value).isdisjoint(get_args(SplitName)) else "parts"
    if isinstance(value, Table):
        return "table"
    return "files" if isinstance(value, list | tuple) else "file"


_Forms = Annotated[str, Tag("file")] | Annotated[Names, Tag("files")] | Annotated[Table, Tag("table")]
Files = Annotated[_Forms, Discriminator(_form)]
Parts = Annotated[_Forms | Annotated[dict[SplitName, Files], Tag("parts")], Discriminator(_form)]


Read = Callable[..., Any]
"""`read_table`, or `read_events`, which leaves parquet files where they are."""


class Loaded(NamedTuple):
    """A table, its files, and what was detected when they were read."""

    table: Dataset | ParquetTable
    origin: str
    notes: tuple[str, ...]
    decimal: str | None
    files: list[tuple[Path, ReadOptions]]


class FilesSource(DataSource):
    """Reads the files of each table, or of each part of the split."""

    name = "files"
    summary = "csv, tsv, json, jsonl or parquet files: interactions, and optionally items and users"

    class Config(StrictConfig):
        """Give `path`, or `interactions`, or both. Relative paths start at the working directory."""

        path: str | None = None
        """A folder: tables not named below are looked up in it, as interactions.* or ratings.*, items.* or
        movies.*, users.*; names below are relative to it."""
        interactions: Parts | None = None
        """A file, a folder of files, a pattern such as events/*.parquet, or a list of these; or
        {path: ..., sep: ..., encoding: ..., header: [...]}; or one of these for each part
        {train: ..., validation: ..., test: ...}, which adds a column `split`."""
        items: Files | None = None
        """Files of the item table, in the same forms."""
        users: Files | None = None
        """Files of the users' table, in the same forms."""

        @model_validator(mode="after")
        def _has_a_path(self) -> FilesSource.Config:
            if self.path is None and not self.interactions:
                raise ValueError("the data is missing: set `path` to a folder, or `interactions` to a file")
            return self

    config: Config

    def load(self) -> RawTables:
        """The tables, with the files' own column names. Raises DataError naming file, line and field."""
        folder = None if self.config.path is None else existing_folder(self.config.path)
        columns: dict[str, str] = {}
        named = self.config.interactions
        if isinstance(named, dict):
            interactions = _joined({part: _read(form, folder, read_events) for part, form in named.items()})
            columns["split"] = "split"
        else:
            found = _loaded(folder, named, INTERACTIONS, "interactions", read_events)
            if found is None:
                raise DataError(
                    f"{folder}: there is no file of interactions, such as interactions.csv or ratings.parquet. "
                    f"{contents(folder or Path())} Set `interactions` to the file."
                )
            interactions = found
        items = _loaded(folder, self.config.items, ITEMS, "items")
        users = _loaded(folder, self.config.users, USERS, "users")
        for name, table in (("items", items), ("users", users)):
            if table is not None and table.decimal is not None:
                raise DataError(f"{table.origin}: `decimal` does nothing for {name}. Leave it out.")
        tables = [table for table in (interactions, items, users) if table is not None]
        return RawTables(
            interactions=interactions.table,
            items=None if items is None else items.table,
            users=None if users is None else users.table,
            users_asked=self.config.users is not None,
            columns=columns,
            origin=interactions.origin,
            items_origin="" if items is None else items.origin,
            notes=tuple(note for table in tables for note in table.notes),
            decimal=interactions.decimal,
            rows=table_rows(interactions.files),
            item_rows=None if items is None else table_rows(items.files),
            user_rows=None if users is None else table_rows(users.files),
        )

    def read_options(self) -> ReadOptions:
        """The options of the interactions, or of the first part that has any."""
        named = self.config.interactions
        forms = list(named.values()) if isinstance(named, dict) else [named]
        return next((_options(form) for form in forms if isinstance(form, Table)), ReadOptions())


def _loaded(
    folder: Path | None,
    form: str | Names | Table | None,
    stems: Iterable[str],
    option: str,
    read: Read = read_table,
) -> Loaded | None:
    """A table of the folder, or of the files that are named; None if there is none."""
    if form is not None:
        return _read(form, folder, read)
    path = None if folder is None else one_of(folder, list(stems), SUFFIXES, option)
    return None if path is None else _read(str(path), None, read)


def _read(form: str | Sequence[str] | Table, folder: Path | None, read: Read) -> Loaded:
    table = form if isinstance(form, Table) else Table(path=form if isinstance(form, str) else tuple(form))
    paths = existing_files([table.path] if isinstance(table.path, str) else table.path, folder)
    options = _options(table)
    notes = reading_notes(paths, options)
    files = [(path, options) for path in paths]
    return Loaded(read(paths, options=options), table_origin(paths), notes, table.decimal, files)


def _options(table: Table) -> ReadOptions:
    return ReadOptions(table.sep, table.encoding, table.header, table.decimal, table.on_bad_lines)


def _joined(parts: Mapping[SplitName, Loaded]) -> Loaded:
    """The parts, concatenated, with a column `split`. Raises DataError naming file and column."""
    for part in parts.values():
        if "split" in part.table.column_names:
            raise DataError(
                f"{part.origin}: already has a column 'split', but the files are given as parts. "
                "Rename the column, or give one file and `data.split: {by: column}`."
            )
    table = _with_split({part.origin: part.table for part in parts.values()}, tuple(parts))
    origin = ", ".join(part.origin for part in parts.values())
    decimals = {part.decimal for part in parts.values()}
    if len(decimals) > 1:
        raise DataError(f"{origin}: `decimal` is set for some parts only. Set the same one for all.")
    notes = tuple(note for part in parts.values() for note in part.notes)
    files = [file for part in parts.values() for file in part.files]
    return Loaded(table, origin, notes, decimals.pop(), files)


def _with_split(tables: Mapping[str, Dataset | ParquetTable], names: Sequence[str]) -> Dataset | ParquetTable:
    parquet = [table for table in tables.values() if isinstance(table, ParquetTable)]
    if len(parquet) == len(tables):
        return ParquetTable.of_parts(parquet, "split", names)
    stored = {origin: table.dataset() if isinstance(table, ParquetTable) else table for origin, table in tables.items()}
    return joined_tables(stored).add_column("split", np.repeat(names, [len(table) for table in stored.values()]))


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [FilesSource]

"""`files`: interactions, items and users from csv, tsv, json, jsonl or parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from datasets import Dataset
from pydantic import model_validator

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, hookimpl, joined_tables, read_table
from lorarec_sources.paths import contents, existing_file, existing_folder, one_of

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
INTERACTIONS = ("interactions", "ratings")
ITEMS = ("items", "movies")
USERS = ("users",)
SplitName = Literal["train", "validation", "test"]


class FilesSource(DataSource):
    """Reads one file for each table, or one file for each part of the split."""

    name = "files"
    summary = "csv, tsv, json, jsonl or parquet files: interactions, and optionally items and users"

    class Config(StrictConfig):
        """Give `path`, or `interactions`, or both. Relative paths start at the working directory."""

        path: str | None = None
        """A folder: tables not named below are looked up in it, as interactions.* or ratings.*, items.* or
        movies.*, users.*; names below are relative to it."""
        interactions: str | dict[SplitName, str] | None = None
        """A file, or one for each part {train: ..., validation: ..., test: ...}, which adds a column `split`."""
        items: str | None = None
        users: str | None = None

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
            paths = [existing_file(_within(folder, name)) for name in named.values()]
            interactions = _joined(dict(zip(named, paths, strict=True)))
            columns["split"] = "split"
        else:
            file = self._find(folder, named, INTERACTIONS, "interactions")
            if file is None:
                raise DataError(
                    f"{folder}: there is no file of interactions, such as interactions.csv or ratings.parquet. "
                    f"{contents(folder or Path())} Set `interactions` to the file."
                )
            paths, interactions = [file], read_table(file)
        items = self._find(folder, self.config.items, ITEMS, "items")
        users = self._find(folder, self.config.users, USERS, "users")
        return RawTables(
            interactions=interactions,
            items=None if items is None else read_table(items),
            users=None if users is None else read_table(users),
            users_asked=self.config.users is not None,
            columns=columns,
            origin=", ".join(str(path) for path in paths),
            items_origin="" if items is None else str(items),
        )

    def _find(self, folder: Path | None, named: str | None, stems: Iterable[str], option: str) -> Path | None:
        if named is not None:
            return existing_file(_within(folder, named))
        return None if folder is None else one_of(folder, list(stems), SUFFIXES, option)


def _joined(paths: Mapping[SplitName, Path]) -> Dataset:
    """The parts, concatenated, with a column `split`. Raises DataError naming file and column."""
    parts = {str(path): read_table(path) for path in paths.values()}
    for path, part in parts.items():
        if "split" in part.column_names:
            raise DataError(
                f"{path}: already has a column 'split', but the files are given as parts. "
                "Rename the column, or give one file and `data.split: {by: column}`."
            )
    of_row = [split for split, path in paths.items() for _ in range(len(parts[str(path)]))]
    return joined_tables({str(path): parts[str(path)] for path in paths.values()}).add_column("split", of_row)


def _within(folder: Path | None, name: str) -> Path:
    path = Path(name).expanduser()
    return path if folder is None else folder / path


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [FilesSource]

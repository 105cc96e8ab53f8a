"""`files`: interactions, items and users from csv, tsv, json, jsonl or parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Value, concatenate_datasets
from pydantic import model_validator

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, hookimpl
from lorarec_sources.arrow_file import arrow_file
from lorarec_sources.delimited import read_delimited
from lorarec_sources.found import contents, existing_file, existing_folder, one_of
from lorarec_sources.json_rows import read_json

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
INTERACTIONS = ("interactions", "ratings")
ITEMS = ("items", "movies")
USERS = ("users",)
SplitName = Literal["train", "validation", "test"]


class FilesSource(DataSource):
    """Reads one file for each table, or one file for each part of the split."""

    name = "files"
    summary = "csv, tsv, json, jsonl or parquet files: interactions, and perhaps items and users"

    class Config(StrictConfig):
        """Give `path`, or `interactions`, or both. Relative paths start at the working directory."""

        path: str | None = None
        """A folder: what is not named below is looked for in it, as interactions.* or ratings.*, items.* or
        movies.*, users.*; names below are relative to it."""
        interactions: str | dict[SplitName, str] | None = None
        """A file, or one for each part {train: ..., validation: ..., test: ...}, which gives a column
        `split`."""
        items: str | None = None
        users: str | None = None

        @model_validator(mode="after")
        def _something_to_read(self) -> FilesSource.Config:
            if self.path is None and not self.interactions:
                raise ValueError("say where the data is: set `path` to a folder, or `interactions` to a file")
            return self

    config: Config

    def load(self) -> RawTables:
        """The tables, with the files' own column names. Raises DataError naming file, line and field."""
        folder = None if self.config.path is None else existing_folder(self.config.path)
        columns: dict[str, str] = {}
        wanted = self.config.interactions
        if isinstance(wanted, dict):
            paths = [existing_file(_within(folder, name)) for name in wanted.values()]
            interactions = joined(dict(zip(wanted, paths, strict=True)))
            columns["split"] = "split"
        else:
            found = self._find(folder, wanted, INTERACTIONS, "interactions")
            if found is None:
                raise DataError(
                    f"{folder}: no interactions here, under a name such as interactions.csv or "
                    "ratings.parquet. "
                    f"{contents(folder or Path())} Set `interactions` to the file."
                )
            paths, interactions = [found], read_table(found)
        items = self._find(folder, self.config.items, ITEMS, "items")
        users = self._find(folder, self.config.users, USERS, "users")
        return RawTables(
            interactions=interactions,
            items=None if items is None else read_table(items),
            users=None if users is None else read_table(users),
            columns=columns,
            origin=", ".join(str(path) for path in paths),
            items_origin="" if items is None else str(items),
        )

    def _find(self, folder: Path | None, named: str | None, stems: Iterable[str], option: str) -> Path | None:
        if named is not None:
            return existing_file(_within(folder, named))
        return None if folder is None else one_of(folder, list(stems), SUFFIXES, option)


def read_table(path: Path) -> Dataset:
    """One file as a Dataset on disk, by its suffix. Raises DataError naming the file and the place in it."""
    if path.suffix in (".csv", ".tsv"):
        return read_delimited(path)
    if path.suffix in (".json", ".jsonl"):
        return read_json(path)
    if path.suffix == ".parquet":
        return read_parquet(path)
    raise DataError(f"{path}: files of this kind are not read. Use one of: {', '.join(SUFFIXES)}.")


def read_parquet(path: Path) -> Dataset:
    """A parquet file as a Dataset on disk. Raises DataError where it is damaged."""
    try:
        file = pq.ParquetFile(path)
        empty = file.schema_arrow.empty_table()
        return arrow_file(
            [path],
            ["parquet"],
            lambda: iter([empty, *(pa.Table.from_batches([batch]) for batch in file.iter_batches())]),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}. It may be damaged; copy it anew.") from error


def joined(paths: Mapping[SplitName, Path]) -> Dataset:
    """The parts one after the other, with a column `split`.

    Columns must be the same in all. Where the same column is whole numbers here and fractions or text there,
    it becomes what suits both. Raises DataError naming file and column.
    """
    parts = {split: read_table(path) for split, path in paths.items()}
    first = next(iter(paths))
    for split, part in parts.items():
        if "split" in part.column_names:
            raise DataError(
                f"{paths[split]}: has a column 'split' already, but the files are given as parts. "
                "Rename the column, or give one file and `data.split: {by: column}`."
            )
        if odd := set(part.column_names) ^ set(parts[first].column_names):
            raise DataError(f"{paths[split]}: columns {sorted(odd)} are not in both this file and {paths[first]}.")
    features = _common_features([part.features for part in parts.values()])
    return concatenate_datasets(
        [
            part.select_columns(list(features)).cast(features).add_column("split", [split] * len(part))
            for split, part in parts.items()
        ]
    )


def _common_features(all_features: list[Features]) -> Features:
    common = {}
    for name, first in all_features[0].items():
        kinds = {str(getattr(features[name], "dtype", features[name])) for features in all_features}
        if len(kinds) == 1:
            common[name] = first
        elif all(kind.startswith(("int", "float", "null")) for kind in kinds):
            common[name] = Value("float64" if any(kind.startswith("float") for kind in kinds) else "int64")
        else:
            common[name] = Value("string")
    return Features(common)


def _within(folder: Path | None, name: str) -> Path:
    path = Path(name).expanduser()
    return path if folder is None else folder / path


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [FilesSource]

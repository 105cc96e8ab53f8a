"""`ab_tests`: texts shown at random within an A/B test, with impressions and clicks, read as pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset
from pydantic import Field

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, hookimpl, read_table
from lorarec_sources.paths import existing_file, expanded, missing_field

TRAINING = ("train", "training")


class AbTestsSource(DataSource):
    """Reads one file with one row per text that a test showed: the test, the text, how often it was shown and clicked,
    and the part of the split that the test belongs to.

    Rows of one text in one test are summed. The result has one row for each pair of texts of a test: item (the text
    that comes first alphabetically), history (the other one), user (the test), split, and rating: the difference of
    their click rates in standard errors (z of two proportions, pooled), below 0 where the first one's is lower. Pairs
    of equal rates are left out, and in validation and test so are pairs whose difference is not significant.

    Matias et al. The Upworthy Research Archive, a time series of 32,487 experiments in U.S. media. Scientific Data
    8:195, 2021.
    """

    name = "ab_tests"
    summary = "A/B tests of texts with impressions and clicks, such as the Upworthy Research Archive, read as pairs"
    paper = "Matias et al., Scientific Data 2021, https://doi.org/10.1038/s41597-021-00934-7"

    class Config(StrictConfig):
        """The file, and the names of its columns."""

        path: str
        """A csv, tsv, json, jsonl or parquet file, or the folder that contains packages.parquet."""
        test: str = "clickability_test_id"
        """Column: the test of the row."""
        text: str = "headline"
        """Column: the text that was shown."""
        impressions: str = "impressions"
        """Column: how often it was shown."""
        clicks: str = "clicks"
        """Column: how often it was clicked."""
        split: str = "split"
        """Column: train, validation or test; the same for all rows of a test."""
        decided: Annotated[float, Field(ge=0)] = 1.96
        """Pairs of validation and test count as decided if the rates differ by more standard errors."""

    config: Config

    def load(self) -> RawTables:
        """Pairs and texts. Raises DataError naming file, row and column of an invalid value, and if no test
        compares texts."""
        config = self.config
        path = expanded(config.path)
        file = existing_file(path / "packages.parquet" if path.is_dir() else path)
        pairs = list(_pairs(_arms(file, config), config.decided))
        if not pairs:
            raise DataError(f"{file}: no test shows two texts (column '{config.text}') of different click rates.")
        table = {
            "user": [pair.test for pair in pairs],
            "item": [pair.first for pair in pairs],
            "history": [[pair.second] for pair in pairs],
            "rating": [pair.z for pair in pairs],
            "split": [pair.split for pair in pairs],
        }
        texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
        items = Dataset(pa.table({"item": texts, "title": texts}))
        return RawTables(Dataset(pa.table(table)), items, item_text="{title}", origin=str(file))


class Arm(NamedTuple):
    """A text of a test."""

    test: str
    text: str
    shown: int
    clicked: int
    split: str


class Pair(NamedTuple):
    """Two texts of a test in alphabetical order."""

    test: str
    first: str
    second: str
    z: float
    split: str


def lead(shown: tuple[int, int], clicked: tuple[int, int]) -> float:
    """z of the difference of two proportions, with their pooled standard error; 0 where no or every impression was
    clicked."""
    pooled = sum(clicked) / sum(shown)
    error = np.sqrt(pooled * (1 - pooled) * (1 / shown[0] + 1 / shown[1]))
    return float((clicked[0] / shown[0] - clicked[1] / shown[1]) / error) if error else 0.0


def _pairs(arms: dict[tuple[str, str], Arm], decided: float) -> Iterator[Pair]:
    tests: dict[str, list[Arm]] = {}
    for arm in arms.values():
        tests.setdefault(arm.test, []).append(arm)
    for test, shown in tests.items():
        for a, b in combinations(sorted(shown, key=lambda arm: arm.text), 2):
            z = lead((a.shown, b.shown), (a.clicked, b.clicked))
            if abs(z) > (0.0 if a.split in TRAINING else decided):
                yield Pair(test, a.text, b.text, z, a.split)


def _arms(file: Path, config: AbTestsSource.Config) -> dict[tuple[str, str], Arm]:
    """Each text of each test once, in order of first appearance."""
    names = (config.test, config.text, config.impressions, config.clicks, config.split)
    table = read_table(file)
    for option, name in zip(("test", "text", "impressions", "clicks", "split"), names, strict=True):
        if name not in table.column_names:
            raise missing_field(str(file), option, name, table.column_names)
    columns = [table.data.column(name).to_pylist() for name in names]
    arms: dict[tuple[str, str], Arm] = {}
    splits: dict[str, str] = {}
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        arm = _arm(f"{file}, row {number}", dict(zip(names, row, strict=True)), config)
        if splits.setdefault(arm.test, arm.split) != arm.split:
            raise DataError(
                f"{file}, row {number}, column '{config.split}': test {arm.test} is in {arm.split}, but an earlier row "
                f"has it in {splits[arm.test]}. All rows of a test must be in one part."
            )
        sofar = arms.get((arm.test, arm.text), arm._replace(shown=0, clicked=0))
        arms[arm.test, arm.text] = arm._replace(shown=sofar.shown + arm.shown, clicked=sofar.clicked + arm.clicked)
    return arms


def _arm(location: str, row: dict[str, object], config: AbTestsSource.Config) -> Arm:
    for name, value in row.items():
        if value is None or value == "":
            raise DataError(f"{location}, column '{name}': the value is missing. Correct or remove the row.")
    shown, clicked = row[config.impressions], row[config.clicks]
    if not isinstance(shown, int) or shown < 1:
        raise DataError(
            f"{location}, column '{config.impressions}': {shown!r} is not a count of 1 or more impressions."
        )
    if not isinstance(clicked, int) or not 0 <= clicked <= shown:
        raise DataError(
            f"{location}, column '{config.clicks}': {clicked!r} is not a count of clicks from 0 to {shown}."
        )
    return Arm(str(row[config.test]), str(row[config.text]), shown, clicked, str(row[config.split]))


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [AbTestsSource]

"""Splits: the events of training, validation and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lorarec.config.recipe import SplitSection
from lorarec.config.strict import did_you_mean
from lorarec.data.columns import TIME, USER, missing_column
from lorarec.data.file_rows import Rows, row_of
from lorarec.data.interactions import Part
from lorarec.data.ordering import time_order
from lorarec.data.streams import Purpose, generator
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

NAMES = {
    "train": Part.TRAIN,
    "training": Part.TRAIN,
    "valid": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "val": Part.VALIDATION,
    "dev": Part.VALIDATION,
    "test": Part.TEST,
}


def split(
    table: Dataset,
    section: SplitSection,
    seed: int,
    origin: str,
    target: np.ndarray | None = None,
    rows: Rows | None = None,
) -> np.ndarray:
    """[E] int8 of Part for each row of an encoded table; `rows` is as in `row_of`.

    `target` [E] says which rows can be trained and evaluated on; all by default. Shares, last events and draws count
    these alone. The others go to the part of their time or column, and else to training.

    Raises DataError if the table lacks a column that the split needs, or if a part with a share above 0 is empty.
    """
    if section.by in ("time", "random") and section.validation + section.test >= 1:
        raise DataError(
            f"data.split: validation={section.validation:g} and test={section.test:g} leave no rows to train "
            "on. Make them smaller: together they must stay below 1."
        )
    target = np.ones(len(table), bool) if target is None else target
    if section.by == "time":
        part = _by_time(table, section, origin, target)
    elif section.by == "last":
        part = _last_out(table, section, origin, target, rows)
    elif section.by == "random":
        part = _random(target, section, seed)
    else:
        part = _by_column(table, section, seed, origin, target, rows)
    _refuse_empty(part[target], section, origin)
    return part


def few_shot(
    part: np.ndarray, rows: int | None, seed: int, origin: str, target: np.ndarray | None = None
) -> np.ndarray:
    """The same split with `rows` training rows, drawn by the seed, or all (None); the others are in no part.

    `target` is as in `split`. Raises DataError if there are fewer.
    """
    if rows is None:
        return part
    train = np.flatnonzero((part == Part.TRAIN) & (True if target is None else target))
    if rows > len(train):
        raise DataError(
            f"{origin}: data.split.train_rows={rows}, but there are {len(train)} training rows to draw from."
        )
    fewer = part.copy()
    fewer[generator(seed, Purpose.TRAIN_ROWS).permutation(train)[rows:]] = Part.UNUSED
    return fewer


def _column(table: Dataset, name: str) -> np.ndarray:
    values: np.ndarray = table.data.column(name).to_numpy()
    return values


def _by_time(table: Dataset, section: SplitSection, origin: str, target: np.ndarray) -> np.ndarray:
    """Cut at the quantiles. Rows of equal time at a cut all stay in the earlier part, so that held-out rows are
    strictly later than training rows."""
    if TIME not in table.column_names:
        raise DataError(
            f"{origin}: data.split.by is time, but there is no column 'time'. Name it "
            "(data.columns.time=NAME), or split otherwise (data.split.by=last, random or column)."
        )
    time = _column(table, TIME)
    sorted_time = time[target]
    sorted_time.sort()
    rows = len(sorted_time)
    test = round(rows * section.test)
    held_out = test + round(rows * section.validation)
    part = np.full(len(time), Part.TRAIN, np.int8)
    if held_out >= rows:
        raise _empty(Part.TRAIN, section, origin)
    part[time > sorted_time[rows - held_out - 1]] = Part.VALIDATION
    part[time > sorted_time[rows - test - 1]] = Part.TEST
    return part


def _last_out(table: Dataset, section: SplitSection, origin: str, target: np.ndarray, rows: Rows | None) -> np.ndarray:
    """Each user's last event is test and the one before it validation, if the user has three; ties by table
    order. Of users who are not evaluated, both are unused."""
    user = _column(table, USER)
    order = time_order(user, _column(table, TIME) if TIME in table.column_names else None)
    order = order[target[order]]
    counts = np.bincount(user[target])
    ends = np.cumsum(counts)[counts >= 3]
    part = np.full(len(user), Part.TRAIN, np.int8)
    part[order[ends - 1]] = Part.TEST
    part[order[ends - 2]] = Part.VALIDATION
    if section.users is not None:
        evaluated = _evaluated(table, user, section.users, origin, rows)
        part[(part != Part.TRAIN) & ~evaluated] = Part.UNUSED
    return part


def _evaluated(table: Dataset, user: np.ndarray, name: str, origin: str, in_files: Rows | None) -> np.ndarray:
    """[E] bool of the column, which must be the same in all rows of a user."""
    where, column = f"{origin}, column '{name}'", table.data.column(name)
    if not pa.types.is_boolean(column.type) or column.null_count:
        raise DataError(f"{where}: data.split.users needs true or false in every row, not {column.type}.")
    evaluated: np.ndarray = column.to_numpy()
    rows = np.bincount(user, evaluated.astype(np.float64))
    mixed = np.flatnonzero((rows[user] > 0) & ~evaluated)
    if len(mixed):
        raise DataError(
            f"{where}, row {row_of(int(mixed[0]), in_files)}: false, but true in another row of the same user. Make "
            "them the same."
        )
    return evaluated


def _random(target: np.ndarray, section: SplitSection, seed: int) -> np.ndarray:
    rows = np.flatnonzero(target)
    order = rows[generator(seed, Purpose.SPLIT).permutation(len(rows))]
    test = round(len(rows) * section.test)
    part = np.full(len(target), Part.TRAIN, np.int8)
    part[order[:test]] = Part.TEST
    part[order[test : test + round(len(rows) * section.validation)]] = Part.VALIDATION
    return part


def _by_column(
    table: Dataset, section: SplitSection, seed: int, origin: str, target: np.ndarray, rows: Rows | None
) -> np.ndarray:
    if section.column not in table.column_names:
        raise missing_column(section.column, table.column_names, origin, ", which data.split.column names")
    column = table.data.column(section.column)
    where = f"{origin}, column '{section.column}'"
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        row = row_of(int(missing[0]), rows)
        raise DataError(f"{where}, row {row}: the value is missing. Say train, validation or test.")
    if pa.types.is_boolean(column.type):
        part = np.where(column.to_numpy(), Part.TEST, Part.TRAIN).astype(np.int8)
    else:
        part = _named_parts(column, where, rows)
    train = np.flatnonzero((part == Part.TRAIN) & target)
    if (part == Part.VALIDATION)[target].any():
        if section.validation != type(section).model_fields["validation"].default:
            raise DataError(
                f"{where} names validation rows itself, so data.split.validation={section.validation:g} does nothing. "
                "Leave it out."
            )
    else:
        drawn = generator(seed, Purpose.SPLIT).permutation(train)
        part[drawn[: round(len(train) * section.validation)]] = Part.VALIDATION
    return part


def _named_parts(column: pa.ChunkedArray, where: str, rows: Rows | None) -> np.ndarray:
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    values = encoded.dictionary.to_pylist()
    for code, value in enumerate(values):
        if str(value).strip().lower() not in NAMES:
            row = row_of(int(np.flatnonzero(codes == code)[0]), rows)
            raise DataError(
                f"{where}, row {row}: {value!r} is not a part of a split.{did_you_mean(str(value), NAMES)} "
                "A split column says train, validation (valid, val, dev) or test, or is true where a row is "
                "test."
            )
    parts: np.ndarray = np.array([NAMES[str(value).strip().lower()] for value in values], np.int8)[codes]
    return parts


def _refuse_empty(part: np.ndarray, section: SplitSection, origin: str) -> None:
    """Only a part whose share is set to 0 may be empty."""
    # A column or last-out split always holds out test rows; shares of 0 apply to other splits.
    shares = {Part.TRAIN: 1.0, Part.VALIDATION: section.validation, Part.TEST: section.test}
    if section.by == "last":
        shares[Part.VALIDATION] = 1.0
    if section.by in ("last", "column"):
        shares[Part.TEST] = 1.0
    for needed, share in shares.items():
        if share and not (part == needed).any():
            raise _empty(needed, section, origin)


def _empty(part: Part, section: SplitSection, origin: str) -> DataError:
    shares = f"validation={section.validation:g}, test={section.test:g}"
    reasons = {
        "time": f"too few rows for {shares}, or too many of equal time. Change data.split.validation and "
        "data.split.test, or set data.split.by=last or random",
        "last": "no user has three events. Set data.split.by=time or random",
        "random": f"too few rows for {shares}. Change data.split.validation and data.split.test",
        "column": f"no row of column '{section.column}' names it. Name another column "
        "(data.split.column=NAME), or set data.split.by=time, last or random",
    }
    return DataError(f"{origin}: the {part.name.lower()} part of the split is empty: {reasons[section.by]}.")

"""What every plugin class must say of itself, and what every data source and every metric must do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from lorarec.config.strict import descriptions
from lorarec.contracts import DataSource, Metric, Plugin, StrictConfig
from lorarec.data.columns import ITEM, KNOWN, USER
from lorarec.data.raw_tables import as_arrow

K = 3
CATALOG = 12


def check_plugin(plugin_class: type[Plugin]) -> None:
    """Raise AssertionError if the name, the summary, another attribute that the contract asks for, or a setting's
    description is missing or malformed."""
    label = plugin_class.__qualname__
    name = getattr(plugin_class, "name", "")
    assert re.fullmatch(r"[a-z][a-z0-9_@]*", name), (
        f"{label}.name must be lower case, words joined by underscores: {name!r}"
    )
    summary = getattr(plugin_class, "summary", "")
    assert summary and "\n" not in summary, f"{label}.summary must be one line: `lorarec plugins` prints it"
    unset = _unset(plugin_class)
    assert not unset, f"{label} does not set {', '.join(unset)}, as its contract asks of each class"
    assert issubclass(plugin_class.Config, StrictConfig), f"{label}.Config must be a StrictConfig"
    described = descriptions(plugin_class.Config)
    for field in plugin_class.Config.model_fields:
        assert field in described, f"setting '{field}' of {label} has no description: put a docstring below it"


def _unset(plugin_class: type[Plugin]) -> list[str]:
    """Class attributes that a contract declares without a default, and that the class lacks."""
    return [
        name
        for base in plugin_class.__mro__
        for name, kind in vars(base).get("__annotations__", {}).items()
        if "ClassVar" in str(kind) and not hasattr(plugin_class, name)
    ]


def check_data_source(source: DataSource) -> None:
    """Raise AssertionError, in a sentence, for the first law that the source breaks.

    Interactions have users and items and at least one row; the columns it names exist; loading twice gives
    the same rows in the same order.
    """
    check_plugin(type(source))
    tables, again = source.load(), source.load()
    assert len(tables.interactions), "the source gives no interactions"
    unknown = sorted(set(tables.columns) - set(KNOWN))
    assert not unknown, f"columns maps names lorarec does not know: {unknown}; it knows {sorted(KNOWN)}"
    for column in (USER, ITEM):
        name = tables.columns.get(column, column)
        there = name in tables.interactions.column_names
        assert there, f"no column of the interactions is the {column}: map it in columns"
    present = [table for table in (tables.interactions, tables.items, tables.users) if table is not None]
    for column, name in tables.columns.items():
        known = any(name in table.column_names for table in present)
        assert known, f"columns maps {column} to '{name}', which no table has"
    same = as_arrow(tables.interactions).equals(as_arrow(again.interactions))
    assert same, "loading twice gave other rows, or another order"
    assert tables.origin, "origin is empty: messages need the file or address to name"


Cases = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Perfect predictions, the worst ones, and the references [n] of both."""


def check_metric(metric_class: type[Metric], cases: Cases | None = None, **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the metric breaks.

    The module's result holds a finite number under the metric's name; perfect predictions are no worse than
    the worst ones, in the direction the metric declares; the order of the rows does not matter; `weighted`, where there
    is one, gives the same number for all rows once, and for samples with the rows of some users twice. `cases` are
    needed where a metric reads what only predictions of another package give; `options` are settings as in a recipe.
    """
    check_plugin(metric_class)
    config = metric_class.Config.model_validate(options)
    metric = metric_class(config, k=K if metric_class.takes_k else None, catalog_size=CATALOG)
    good, bad, references = cases or _cases(metric_class.reads)
    users = np.arange(len(references)) // 4
    best, worst = (_value(metric, predictions, references, users) for predictions in (good, bad))
    assert math.isfinite(best) and math.isfinite(worst), f"'{metric.name}' is not a finite number"
    better = best >= worst if metric.higher_is_better else best <= worst
    better |= math.isclose(best, worst, rel_tol=1e-6, abs_tol=1e-9)
    assert better, f"perfect predictions get {best:.3g}, the worst {worst:.3g}: is higher_is_better right?"
    order = np.random.default_rng(0).permutation(len(references))
    again = _value(metric, bad[order], references[order], users[order])
    assert math.isclose(again, worst, rel_tol=1e-6, abs_tol=1e-9), "the order of the rows changes the result"
    once = metric.weighted(bad, references, users, np.ones((1, len(users))))
    agrees = once is None or math.isclose(float(once[0]), worst, rel_tol=1e-6, abs_tol=1e-9)
    assert agrees, (
        f"`weighted` gives {once} where the metric is {worst:.6g}: intervals would be those of another metric"
    )

    if once is not None:
        mixed = bad.copy()
        mixed[users == 0] = good[users == 0]  # else the metric may be the same for every user
        _check_repeated_users(metric, mixed, references, users)


def _check_repeated_users(metric: Metric, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> None:
    """`weighted` on a sample that has every second user twice is the metric of those rows."""
    twice = users % 2 == 1
    rows = np.concatenate([np.arange(len(users)), np.flatnonzero(twice)])
    names = np.concatenate([users, users[twice] + users.max() + 1])  # a user who is drawn again counts as another
    expected = _value(metric, predictions[rows], references[rows], names)
    given = metric.weighted(predictions, references, users, (1.0 + twice)[None])
    assert given is not None and math.isclose(float(given[0]), expected, rel_tol=1e-6, abs_tol=1e-9), (
        f"`weighted` gives {given} for a sample with some rows twice, of which the metric is {expected:.6g}: "
        "does it use `weights`?"
    )


def _value(metric: Metric, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
    result = metric.module().compute(predictions=predictions, references=references, users=users)
    assert metric.name in result, f"compute must return the key '{metric.name}', but returned {result}"
    return float(result[metric.name])


def _cases(reads: str) -> Cases:
    """For what the metric reads."""
    assert reads in CASES, f"give `cases`: what predictions '{reads}' look like, only their predictor knows"
    return CASES[reads]()


def _scores() -> Cases:
    truth = np.tile([0.0, 1.0, 1.0, 0.0], 3)
    return np.clip(truth, 0.01, 0.99), np.clip(1 - truth, 0.01, 0.99), truth


def _ranks() -> Cases:
    return np.zeros(CATALOG, np.int64), np.full(CATALOG, CATALOG - 1), np.arange(CATALOG)


def _lists() -> Cases:
    items = np.arange(CATALOG)
    lists = (items[:, None] + np.arange(K)) % CATALOG
    return lists, np.tile((items[0] + 1 + np.arange(K)) % CATALOG, (CATALOG, 1)), items


CASES: dict[str, Callable[[], Cases]] = {"scores": _scores, "ranks": _ranks, "lists": _lists}

"""Slices divide the rows by the training events of their users and items."""

from types import SimpleNamespace

import numpy as np
import pytest

from lorarec.cli.output import print_slices
from lorarec.contracts import PairPredictor, Predictions, Statistics
from lorarec.evaluation.metrics import RULES, NamedMetric, slice_metrics
from lorarec_metrics.binary import Auc
from lorarec_metrics.regression import Mae

USERS = np.array([0, 0, 1, 2, 2, 2])
ITEMS = np.array([0, 1, 2, 2, 3, 4])
LABELS = np.array([1.0, 1, 0, 1, 0, 1])


def sliced(*metrics):
    # User 1 and item 4 have no training events, user 0 and item 3 few. A fifth of 5 items is one: item 2.
    statistics = Statistics(np.array([6, 7, 30, 5, 0]), np.array([5, 0, 43]), 0.5, 0, 1, 0.5)
    examples = SimpleNamespace(users=USERS, items=ITEMS, labels=lambda: LABELS, predictor=PairPredictor(None))
    predictions = Predictions(np.arange(6), {"scores": np.array([0.9, 0.8, 0.5, 0.5, 0.5, 0.5])})
    return slice_metrics(predictions, examples, [NamedMetric(metric.name, metric) for metric in metrics], statistics)


def test_rows_fall_into_the_slices_of_their_users_and_items():
    slices = sliced(Mae(Mae.Config()))
    assert {name: part["rows"] for name, part in slices.items()} == {
        "users: cold": 1, "users: few": 2, "users: many": 3,
        "items: unseen": 1, "items: few": 1, "items: many": 4,
        "items: head": 2, "items: tail": 4,
    }  # fmt: skip
    assert slices["users: few"]["metrics"]["mae"] == pytest.approx(0.15)
    assert set(slices) == set(RULES)


def test_a_metric_that_is_nan_on_a_slice_is_none_and_the_table_leaves_it_empty(capsys):
    slices = sliced(Auc(Auc.Config()))
    assert slices["users: few"]["metrics"]["auc"] is None
    assert slices["users: many"]["metrics"]["auc"] == 0.5
    print_slices({"validation": {}, "test": {"auc": 0.5}, "slices": {"test": slices}})
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "users: few" in line]
    assert line.split() == ["test", "users:", "few", *RULES["users: few"].split(), "2"]

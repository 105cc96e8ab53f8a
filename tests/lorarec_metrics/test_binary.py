"""Click metrics agree with scikit-learn, also with ties and in edge cases."""

import math
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sklearn

from lorarec.contracts import DataError

RNG = np.random.default_rng(5)
CLICKED = RNG.integers(0, 2, 400).astype(float)
# Rounded, so that many scores tie.
PROBABLE = np.round(np.clip(0.3 * CLICKED + RNG.uniform(0, 0.7, 400), 0, 1), 2)
USERS = RNG.integers(0, 60, 400)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("auc", sklearn.roc_auc_score(CLICKED, PROBABLE)),
        ("log_loss", sklearn.log_loss(CLICKED, PROBABLE)),
        ("accuracy", sklearn.accuracy_score(CLICKED, PROBABLE >= 0.5)),
        ("f1", sklearn.f1_score(CLICKED, PROBABLE >= 0.5)),
    ],
)
def test_it_equals_scikit_learns(compute, name, theirs):
    assert compute(name, PROBABLE, CLICKED) == pytest.approx(theirs, abs=1e-12)


def test_gauc_weights_each_users_auc_by_rows_and_leaves_out_users_of_one_class(compute):
    areas, rows = [], []
    for user in np.unique(USERS):
        mine = user == USERS
        if len(set(CLICKED[mine])) == 2:
            areas.append(sklearn.roc_auc_score(CLICKED[mine], PROBABLE[mine]))
            rows.append(mine.sum())
    assert len(areas) < len(np.unique(USERS)), "the example must contain users of one class"
    assert compute("gauc", PROBABLE, CLICKED, USERS) == pytest.approx(np.average(areas, weights=rows), abs=1e-12)


def test_a_constant_score_has_an_auc_of_one_half(compute):
    assert compute("auc", [0.3] * 4, [0, 1, 1, 0]) == 0.5


@pytest.mark.parametrize("name", ["auc", "gauc"])
def test_labels_of_one_class_have_no_auc(compute, name):
    assert math.isnan(compute(name, [0.1, 0.9], [1, 1]))


def test_a_certain_and_wrong_prediction_has_a_large_but_finite_loss(compute):
    assert compute("log_loss", [0.0], [1]) == pytest.approx(sklearn.log_loss([1], [0.0], labels=[0, 1]))


def test_f1_is_zero_without_positive_rows(compute):
    assert compute("f1", [0.1, 0.2], [0, 0]) == 0


def test_ece_by_hand(compute):
    # Bins of 1/15. 0.50 and 0.52 share bin 7: mean 0.51, half clicked, gap 0.01, two rows.
    # 1.0 is in the last bin, not clicked: gap 1. 0.1 is in bin 1, clicked: gap 0.9.
    expected = (2 * 0.01 + 1 * 1.0 + 1 * 0.9) / 4
    assert compute("ece", [0.50, 0.52, 1.0, 0.1], [1, 0, 0, 1]) == pytest.approx(expected, abs=1e-12)


def test_ece_agrees_with_a_loop_over_bins(compute):
    total, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        inside = (low <= PROBABLE) & ((high > PROBABLE) | (high == 1))
        if inside.any():
            total += inside.mean() * abs(PROBABLE[inside].mean() - CLICKED[inside].mean())
    assert compute("ece", PROBABLE, CLICKED) == pytest.approx(total, abs=1e-9)


def test_stars_are_refused_as_labels_with_their_row(compute):
    with pytest.raises(DataError, match=r"labels of 0 and 1; row 1 has 4"):
        compute("auc", [0.1, 0.9], [1.0, 4.0])


def test_a_logit_is_refused_as_a_probability_with_its_row(compute):
    with pytest.raises(DataError, match=r"probabilities between 0 and 1; row 1 has -2.5"):
        compute("log_loss", [0.1, -2.5], [1.0, 0.0])

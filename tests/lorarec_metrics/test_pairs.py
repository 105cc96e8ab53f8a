"""Accuracy on pairs: the right sign of a difference."""

import numpy as np
import pytest

from lorarec.contracts import DataError


def test_the_right_sign_counts_one_and_a_prediction_of_zero_one_half(compute):
    assert compute("pair_accuracy", [0.1, -9.0, 3.0, 0.0], [5.0, -0.2, -2.0, 1.0]) == 2.5 / 4


def test_a_constant_prediction_is_right_on_pairs_of_its_sign(compute):
    references = np.array([1.0, 2.0, 3.0, -1.0])
    assert compute("pair_accuracy", np.full(4, 0.7), references) == 0.75
    assert compute("pair_accuracy", np.zeros(4), references) == 0.5


def test_a_true_difference_of_zero_is_refused(compute):
    with pytest.raises(DataError, match=r"Row 1: a difference of 0 has no sign \(1 such rows\)"):
        compute("pair_accuracy", [1.0, 1.0], [2.0, 0.0])

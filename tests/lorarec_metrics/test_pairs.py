"""Accuracy on pairs: the right side of 0."""

import numpy as np
import pytest

from lorarec.contracts import DataError


def test_the_right_side_counts_one_and_a_prediction_of_nothing_a_half(compute):
    assert compute("pair_accuracy", [0.1, -9.0, 3.0, 0.0], [5.0, -0.2, -2.0, 1.0]) == 2.5 / 4


def test_a_constant_scorer_has_the_share_of_leads_it_guesses(compute):
    references = np.array([1.0, 2.0, 3.0, -1.0])
    assert compute("pair_accuracy", np.full(4, 0.7), references) == 0.75
    assert compute("pair_accuracy", np.zeros(4), references) == 0.5


def test_a_lead_of_nothing_has_no_right_side(compute):
    with pytest.raises(DataError, match=r"Row 1: a lead of 0 has no right side \(1 such rows\)"):
        compute("pair_accuracy", [1.0, 1.0], [2.0, 0.0])

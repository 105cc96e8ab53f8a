"""Rating metrics agree with scikit-learn and with a table computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

RNG = np.random.default_rng(3)
PREDICTED, GIVEN = RNG.uniform(1, 5, 200), RNG.integers(1, 6, 200)


def test_rmse_and_mae_equal_scikit_learns(compute):
    assert compute("rmse", PREDICTED, GIVEN) == pytest.approx(root_mean_squared_error(GIVEN, PREDICTED), abs=1e-12)
    assert compute("mae", PREDICTED, GIVEN) == pytest.approx(mean_absolute_error(GIVEN, PREDICTED), abs=1e-12)


def test_user_rmse_gives_every_user_the_same_weight(compute):
    # User 7 errs by 2 on three rows, user 2 by 1 on one: (2 + 1) / 2, while rmse would be sqrt(13 / 4).
    assert compute("user_rmse", [3.0, 3, 3, 3], [1.0, 5, 1, 4], [7, 7, 7, 2]) == 1.5


def test_user_rmse_is_the_mean_of_scikit_learns_over_users(compute):
    users = RNG.integers(0, 9, 200)
    each = [root_mean_squared_error(GIVEN[users == user], PREDICTED[users == user]) for user in np.unique(users)]
    assert compute("user_rmse", PREDICTED, GIVEN, users) == pytest.approx(np.mean(each), abs=1e-12)

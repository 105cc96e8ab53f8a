"""Calibration lowers the calibration error and keeps the order of scores."""

import json

import numpy as np
import pytest

from lorarec.evaluation.calibration import Calibration, calibration_error, log_loss


def overconfident(rows=20_000, seed=0):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=rows)
    labels = (draw.random(rows) < 1 / (1 + np.exp(-logits))).astype(float)
    return 1 / (1 + np.exp(-3 * logits)), labels


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_fit_on_some_rows_calibrates_others(method):
    fitted = Calibration.fit(method, *overconfident())
    scores, labels = overconfident(seed=1)
    assert calibration_error(scores, labels) > 0.1
    assert calibration_error(fitted(scores), labels) < 0.02
    assert log_loss(fitted(scores), labels) < log_loss(scores, labels) - 0.1


def test_the_temperature_is_the_factor_the_logits_were_multiplied_by():
    assert Calibration.fit("temperature", *overconfident()).temperature == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_order_is_kept_and_the_map_survives_json(method):
    fitted = Calibration.fit(method, *overconfident(500))
    line = np.linspace(0, 1, 101)
    assert (np.diff(fitted(line)) >= 0).all()
    assert (Calibration.of(json.loads(json.dumps(fitted.to_dict())))(line) == fitted(line)).all()
    assert np.isnan(fitted(np.array([np.nan]))).all()


def test_isotonic_pools_decreasing_scores_into_their_share_of_ones():
    scores, labels = np.array([0.1, 0.2, 0.2, 0.4, 0.6, 0.9]), np.array([0.0, 1, 0, 0, 1, 1])
    fitted = Calibration.fit("isotonic", scores, labels)
    assert fitted(np.array([0.2, 0.4])).tolist() == pytest.approx([1 / 3, 1 / 3])
    assert fitted(np.array([0.05]))[0] == pytest.approx(1e-6) and fitted(np.array([0.95]))[0] == pytest.approx(1 - 1e-6)


def test_the_calibration_error_is_the_gap_weighted_by_rows():
    assert calibration_error(np.array([0.9, 0.9, 0.1, 0.1]), np.array([1.0, 0, 0, 0])) == pytest.approx(
        0.5 * 0.4 + 0.5 * 0.1
    )


def test_the_log_loss_is_the_mean_negative_log_probability_of_the_true_class():
    loss = log_loss(np.array([0.8, 0.3, 0.6]), np.array([1.0, 0, 1]))
    assert loss == pytest.approx(-np.log([0.8, 0.7, 0.6]).mean())


def test_a_temperature_at_a_bound_of_the_search_is_reported():
    labels = np.array([0.0, 1, 0, 1])
    assert Calibration.fit("temperature", np.array([0.99, 0.01, 0.98, 0.02]), labels).at_its_limit
    assert not Calibration.fit("temperature", np.array([0.3, 0.6, 0.8, 0.7]), labels).at_its_limit
    assert not Calibration.fit("isotonic", np.array([0.99, 0.01, 0.98, 0.02]), labels).at_its_limit


def test_the_calibration_error_has_fifteen_bins_and_the_last_one_holds_certainty():
    # 0.62 and 0.68 are in two of fifteen bins, and would be in one of ten.
    assert calibration_error(np.array([0.62, 0.68]), np.array([1.0, 0.0])) == pytest.approx((0.38 + 0.68) / 2)
    assert calibration_error(np.array([1.0, 0.95]), np.array([0.0, 1.0])) == pytest.approx((1.0 - 0.05) / 2)


def test_certain_scores_cost_a_finite_loss_and_keep_a_finite_probability():
    assert log_loss(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(-np.log(1e-6))
    fitted = Calibration("temperature", 1.0, np.empty(0), np.empty(0))
    assert fitted(np.array([0.0, 1.0])).tolist() == pytest.approx([1e-6, 1 - 1e-6], rel=1e-6)


@pytest.mark.parametrize(("wrong", "bound"), [(True, 20), (False, 0.05)])
def test_a_temperature_at_either_bound_is_reported(wrong, bound):
    scores, labels = np.array([0.6, 0.6, 0.4, 0.4]), np.array([1.0, 1.0, 0.0, 0.0])
    fitted = Calibration.fit("temperature", scores, 1 - labels if wrong else labels)
    assert fitted.temperature == pytest.approx(bound, rel=1e-3) and fitted.at_its_limit


def test_the_bins_of_the_calibration_error_begin_at_multiples_of_their_width() -> None:
    same, next_one = np.array([0.02, 0.05]), np.array([0.05, 0.09])  # a bin is 1/15 wide
    labels = np.array([1.0, 0.0])
    assert calibration_error(same, labels) == pytest.approx(abs(0.07 - 1) / 2)
    assert calibration_error(next_one, labels) == pytest.approx((0.95 + 0.09) / 2)

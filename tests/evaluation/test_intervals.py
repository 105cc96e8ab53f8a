"""Intervals: whole users are drawn, as often as documented, the same ones every time."""

from types import SimpleNamespace

import numpy as np
import pytest

from lorarec.contracts import Metric, PairPredictor, Predictions, VectorPredictor
from lorarec.evaluation.intervals import RECOMPUTED, Resamples, interval, metric_intervals
from lorarec.evaluation.metrics import NamedMetric
from lorarec_metrics.binary import Auc
from lorarec_metrics.ranking import Coverage, HitRate
from lorarec_metrics.regression import Rmse, UserRmse


class Slow(Rmse):
    """Rmse of a plugin that does not implement `weighted`."""

    weighted = Metric.weighted

    def value(self, predictions, references, users):
        return float(np.sqrt(np.mean((predictions - references) ** 2)))


def score_intervals(scores, labels, users, *metrics):
    """`metric_intervals` of scores and labels."""
    answers = {"scores": np.asarray(scores, float)}
    labels = np.asarray(labels, float)
    examples = SimpleNamespace(users=np.asarray(users), labels=lambda: labels, predictor=PairPredictor(None))
    return intervals(answers, examples, metrics)


def intervals(answers, examples, metrics):
    named = [NamedMetric(metric.name, metric) for metric in metrics]
    return metric_intervals(Predictions(np.arange(len(examples.users)), answers), examples, named, 1)


def noisy(seed, users, rows):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, users * rows).astype(float)
    shift = np.repeat(draw.normal(size=users), rows)
    return labels * 0.3 + shift + draw.normal(size=users * rows), labels, np.repeat(np.arange(users), rows)


def test_a_users_rows_are_drawn_together():
    resamples = Resamples.of(np.array([5, 8, 5, 8, 8]))
    weights = np.concatenate(list(resamples.weights()))
    assert weights.shape == (1000, 5)
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, 0] + weights[:, 1] == 2).all()
    assert resamples.over == "2 users"


def test_rows_are_drawn_where_there_is_only_one_user():
    resamples = Resamples.of(np.zeros(6, int))
    assert resamples.units == 6 and "6 rows of one user" in resamples.over


def test_metrics_of_users_have_an_interval_where_there_is_only_one_user():
    scores, labels, _ = noisy(0, users=1, rows=80)
    metrics = Rmse(Rmse.Config()), UserRmse(UserRmse.Config())
    bounds = score_intervals(scores, labels, np.zeros(80, int), *metrics)["metrics"]
    assert bounds["user_rmse"] == pytest.approx(bounds["rmse"]), "they are the same where one user has all rows"
    assert bounds["rmse"]["low"] < bounds["rmse"]["high"]


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    users = np.arange(50)
    one = np.concatenate(list(Resamples.of(users, seed=3).weights()))
    assert (one == np.concatenate(list(Resamples.of(users, seed=3).weights()))).all()
    assert (one != np.concatenate(list(Resamples.of(users, seed=4).weights()))).any()


def test_resamples_differ_from_each_other_however_few_are_held_at_once(monkeypatch):
    whole = np.concatenate(list(Resamples.of(np.arange(50)).weights()))
    monkeypatch.setattr("lorarec.evaluation.intervals.CELLS", 50 * 300)
    blocks = list(Resamples.of(np.arange(50)).weights())
    assert len(blocks) == 4 and (np.concatenate(blocks) == whole).all()
    assert len(np.unique(whole, axis=0)) == len(whole)


def test_many_rows_get_fewer_resamples_and_never_too_few():
    assert Resamples.of(np.arange(250_000)).count == 400
    assert Resamples.of(np.arange(2_000_000)).count == 200


def test_the_interval_of_a_mean_is_the_theoretical_one():
    draw = np.random.default_rng(0)
    errors = draw.normal(size=2000)
    rmse = score_intervals(errors, np.zeros(2000), np.arange(2000), Rmse(Rmse.Config()))["metrics"]["rmse"]
    spread = np.sqrt(1 / (2 * 2000))  # of the standard deviation of a normal sample
    assert rmse["low"] == pytest.approx(np.sqrt((errors**2).mean()) - 1.96 * spread, abs=0.004)
    assert rmse["high"] == pytest.approx(np.sqrt((errors**2).mean()) + 1.96 * spread, abs=0.004)
    assert rmse["resamples"] == 1000


def test_few_users_with_many_rows_have_wider_intervals_than_as_many_independent_rows():
    scores, labels, users = noisy(0, users=12, rows=80)
    by_user = score_intervals(scores, labels, users, Rmse(Rmse.Config()))["metrics"]["rmse"]
    by_row = score_intervals(scores, labels, np.arange(len(users)), Rmse(Rmse.Config()))["metrics"]["rmse"]
    assert by_user["high"] - by_user["low"] > 1.5 * (by_row["high"] - by_row["low"])


def test_a_metric_without_weights_is_recomputed_on_fewer_resamples():
    scores, labels, users = noisy(1, users=30, rows=3)
    rmse = score_intervals(scores, labels, users, Slow(Rmse.Config()))["metrics"]["rmse"]
    quick = score_intervals(scores, labels, users, Rmse(Rmse.Config()))["metrics"]["rmse"]
    assert rmse["resamples"] == RECOMPUTED
    assert rmse["low"] == pytest.approx(quick["low"], abs=0.1)


def test_auc_of_labels_of_one_class_has_no_interval():
    assert score_intervals([0.1, 0.2, 0.3], [1, 1, 1], [0, 1, 2], Auc(Auc.Config()))["metrics"] == {}
    assert interval(np.full(1000, np.nan)) is None
    assert interval(np.r_[np.full(600, np.nan), np.arange(400.0)]) is None, "most resamples have none"
    assert interval(np.r_[np.full(400, np.nan), np.ones(600)]) == (1.0, 1.0)


def test_coverage_has_no_interval_and_hit_rate_has_one():
    metrics = HitRate(HitRate.Config(), 2), Coverage(Coverage.Config(), 1, 5)
    examples = SimpleNamespace(users=np.arange(4), items=np.arange(4), predictor=VectorPredictor(None))
    answers = {"ranks": np.array([0, 1, 4, 9]), "lists": np.zeros((4, 1), int)}
    result = intervals(answers, examples, metrics)
    assert set(result["metrics"]) == {"hr"}
    assert result["metrics"]["hr"] == {"low": 0.0, "high": 1.0, "resamples": 1000}

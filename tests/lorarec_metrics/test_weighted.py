"""A metric on samples of the rows is the metric computed on those samples."""

import numpy as np
import pytest

from lorarec.contracts import Metric
from lorarec.errors import PluginError
from lorarec_metrics import binary, pairs, ranking, regression

HOOKS = (binary, pairs, ranking, regression)
METRICS = [cls for hooks in HOOKS for cls in hooks.lorarec_metrics() if cls.reads != "lists"]
USERS = np.array([4, 4, 4, 7, 7, 9, 9, 9, 9, 2])
RANKS = np.array([0, 3, 12, 1, 9, 10, 0, 40, 2, 5])
PROBABILITIES = np.array([0.1, 0.4, 0.4, 0.9, 0.4, 0.8, 0.65, 0.05, 0.3, 0.4])
CLICKS = np.array([0, 1, 0, 1, 1, 1, 0, 0, 1, 0], float)


@pytest.mark.parametrize("cls", METRICS, ids=[cls.name for cls in METRICS])
def test_weights_count_rows_as_if_they_were_repeated(cls: type[Metric]) -> None:
    metric = cls(cls.Config(), 3 if cls.takes_k else None)
    given = (RANKS, RANKS) if cls.reads == "ranks" else (PROBABILITIES, CLICKS)
    if cls is pairs.PairAccuracy:
        given = (PROBABILITIES - 0.4, CLICKS - 0.5)
    # Whole users are drawn: 4 once, 7 twice, 9 three times, 2 not at all; and all of them once.
    times = np.array([{4: 1, 7: 2, 9: 3, 2: 0}[user] for user in USERS])
    weights = np.stack([times, np.ones_like(times)]).astype(float)
    values = metric.weighted(*given, USERS, weights)
    assert values is not None
    for value, row in zip(values, weights.astype(int), strict=True):
        # A user drawn twice is two users of the sample, not one with twice the rows.
        copies = [(number, copy) for number, count in enumerate(row) for copy in range(count)]
        drawn = np.array([number for number, _ in copies])
        users = np.array([USERS[number] * 10 + copy for number, copy in copies])
        computed = metric.module().compute(predictions=given[0][drawn], references=given[1][drawn], users=users)
        assert value == pytest.approx(computed[cls.name], abs=1e-12)


def test_auc_of_a_sample_of_one_class_is_nan() -> None:
    metric = binary.Auc(binary.Auc.Config())
    assert np.isnan(metric.weighted(PROBABILITIES, CLICKS, USERS, CLICKS[None]))


def test_a_metric_that_defines_neither_value_nor_weighted_says_so() -> None:
    class Nothing(Metric):
        name = "nothing"
        summary = "no number"
        reads = "scores"
        higher_is_better = True

    with pytest.raises(PluginError, match="'nothing' defines neither `value` nor `weighted`"):
        Nothing(Nothing.Config()).value(PROBABILITIES, CLICKS, USERS)

"""Ranking metrics agree with a table computed by hand and with scikit-learn on whole score matrices."""

import evaluate
import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from lorarec.contracts import DataError
from lorarec_metrics import binary, ranking, regression

RANKS = [0, 1, 3, 9, 10, 250]


@pytest.mark.parametrize(
    ("name", "k", "expected"),
    [
        ("hr", 10, 4 / 6),
        ("hr", 1, 1 / 6),
        ("recall", 10, 4 / 6),
        ("precision", 10, 4 / 60),
        ("precision", 2, 2 / 12),
        ("mrr", 10, (1 + 1 / 2 + 1 / 4 + 1 / 10) / 6),
        ("map", 3, (1 + 1 / 2) / 6),
        ("ndcg", 10, (1 + 0.6309297535714575 + 0.43067655807339306 + 0.2890648263178879) / 6),
        ("ndcg", 1, 1 / 6),
    ],
)
def test_by_hand(compute, name, k, expected):
    assert compute(name, RANKS, [0] * 6, k=k) == pytest.approx(expected, abs=1e-12)


def test_ndcg_and_map_equal_scikit_learns_on_the_whole_matrix(compute):
    scores = np.random.default_rng(1).normal(size=(40, 25))
    held_out = np.random.default_rng(2).integers(0, 25, 40)
    relevant = np.eye(25)[held_out]
    ranks = (scores > scores[np.arange(40), held_out][:, None]).sum(axis=1)
    assert compute("ndcg", ranks, held_out, k=10) == pytest.approx(ndcg_score(relevant, scores, k=10), abs=1e-12)
    average = label_ranking_average_precision_score(relevant, scores)
    assert compute("map", ranks, held_out, k=25) == pytest.approx(average, abs=1e-12)


def test_coverage_counts_each_recommended_item_once_and_no_empty_rows(compute):
    assert compute("coverage", [[0, 1], [1, 4], [0, -1]], [5, 5, 5], k=2, catalog_size=6) == 3 / 6


def test_coverage_without_a_catalog_is_refused(compute):
    with pytest.raises(DataError, match="needs the size of the catalog"):
        compute("coverage", [[0]], [0], k=1)


def test_a_cutoff_is_needed(compute):
    with pytest.raises(DataError, match="write ndcg@10"):
        compute("ndcg", [0], [0])


def test_all_metrics_are_named_and_described():
    offered = [cls for hooks in (binary, ranking, regression) for cls in hooks.lorarec_metrics()]
    assert sorted(cls.name for cls in offered) == sorted(
        [
            "rmse",
            "user_rmse",
            "mae",
            "auc",
            "gauc",
            "log_loss",
            "accuracy",
            "f1",
            "ece",
            "hr",
            "ndcg",
            "mrr",
            "recall",
            "precision",
            "map",
            "coverage",
        ]
    )
    for cls in offered:
        module = cls(cls.Config(), 5, 7).module()
        assert (module.name, module.description) == (cls.name, cls.summary)


def test_evaluate_can_combine_them():
    classes = [regression.Rmse, regression.Mae]
    both = evaluate.combine([cls(cls.Config()).module() for cls in classes])
    both.add_batch(predictions=[1.0, 2.0], references=[1.0, 4.0])
    both.add_batch(predictions=[3.0], references=[2.0])
    assert both.compute() == pytest.approx({"rmse": (5 / 3) ** 0.5, "mae": 1.0})


def test_two_metrics_of_one_name_do_not_share_state():
    first, second = (ranking.Ndcg(ranking.Ndcg.Config(), k).module() for k in (1, 10))
    first.add_batch(predictions=[0], references=[0])
    second.add_batch(predictions=[5], references=[0])
    assert first.compute()["ndcg"] == 1
    assert 0 < second.compute()["ndcg"] < 1


def test_nothing_is_written_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path)
    regression.Rmse(regression.Rmse.Config()).module().compute(predictions=[1.0], references=[2.0])
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []

"""Baselines have their expected value over ties, by all orders of the tied items; a model has the worst case."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lorarec
from lorarec.contracts import Metric
from lorarec.contracts.metric import expected_over_ties
from lorarec.prediction.ranking import held_out_rank, held_out_ties
from lorarec_metrics import ranking

RANKED = (
    ranking.HitRate,
    ranking.Ndcg,
    ranking.Mrr,
    ranking.Recall,
    ranking.Precision,
    ranking.MeanAveragePrecision,
)
ITEMS, ROWS = 5, 3
SCORES = st.lists(st.sampled_from([-np.inf, 0.0, 0.5, 1.0]), min_size=ITEMS, max_size=ITEMS)


class MeanRank(Metric):
    """A metric without `gains`."""

    name, summary, reads, higher_is_better = "mean_rank", "the mean rank", "ranks", False

    def value(self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
        return float(np.mean(predictions))


def every_order(metric: Metric, scores: np.ndarray, targets: np.ndarray) -> float:
    """The mean over all orders in which equal scores may stand; masked items (-inf) come last."""
    values = []
    for order in permutations(range(ITEMS)):
        ranks = []
        for row, target in zip(scores, targets, strict=True):
            listed = sorted(order, key=lambda item: -row[item])
            ranks.append(listed.index(target) if row[target] > -np.inf else ITEMS - 1)
        values.append(metric.value(np.array(ranks), targets, np.arange(len(targets))))
    return float(np.mean(values))


def expected(metric: Metric, scores: np.ndarray, targets: np.ndarray) -> float:
    given, wanted = torch.from_numpy(scores).float(), torch.from_numpy(targets)
    ranks, ties = held_out_rank(given, wanted).numpy(), held_out_ties(given, wanted).numpy()
    return expected_over_ties(metric, ranks, ties, targets, np.arange(len(targets)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    scores=st.lists(SCORES, min_size=ROWS, max_size=ROWS),
    targets=st.lists(st.integers(0, ITEMS - 1), min_size=ROWS, max_size=ROWS),
    k=st.integers(1, ITEMS - 1),
)
def test_the_expected_value_is_the_mean_over_all_orders_of_tied_items(
    scores: list[list[float]], targets: list[int], k: int
) -> None:
    for metric_class in RANKED:
        metric = metric_class(metric_class.Config(), k)
        wanted = every_order(metric, np.array(scores), np.array(targets))
        assert expected(metric, np.array(scores), np.array(targets)) == pytest.approx(wanted, abs=1e-12)


def test_without_a_formula_the_expected_value_is_the_mean_of_random_orders() -> None:
    scores, targets = np.zeros((400, ITEMS)), np.arange(400) % ITEMS
    assert expected(MeanRank(MeanRank.Config()), scores, targets) == pytest.approx(2.0, abs=0.05)


def test_without_ties_the_expected_value_is_the_value() -> None:
    metric = ranking.Ndcg(ranking.Ndcg.Config(), 3)
    scores, targets = np.random.default_rng(0).normal(size=(50, ITEMS)), np.arange(50) % ITEMS
    ranks = held_out_rank(torch.from_numpy(scores), torch.from_numpy(targets)).numpy()
    assert expected(metric, scores, targets) == pytest.approx(metric.value(ranks, targets, targets), rel=1e-14)


def test_a_run_says_how_often_ties_count_against_it_and_has_expected_baselines(
    tmp_path: Path, tiny_checkpoint: Callable[[str], Path]
) -> None:
    draw, days = np.random.default_rng(0), 3
    bought = [(user, item, day) for user in range(20) for day, item in enumerate(draw.permutation(30)[: days + 2])]
    lines = [f"u{user},i{item},{day // 2}" for user, item, day in bought]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    recipe: dict[str, Any] = {
        "name": "ties",
        "data": {"source": {"name": "files", "path": str(tmp_path)}, "split": {"by": "last"}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert"))},
        "adapter": "frozen",
        "head": "next_item",
        "train": {"epochs": 1, "max_steps": 1},
        "evaluate": {"metrics": ["hr@9"]},
    }
    run = lorarec.train(recipe, output=tmp_path / "run")
    catalog = sorted({item for _, item, _ in bought})
    training = [(item, day // 2) for _, item, day in bought if day < days]
    counts = {item: float(sum(other == item for other, _ in training)) for item in catalog}
    latest = {item: max((time for other, time in training if other == item), default=-1) for item in catalog}
    for name, scores in (("popularity", counts), ("most recent", latest)):
        expected = run.metrics["baselines"][name]["test"]["hr@9"]
        assert expected == pytest.approx(np.mean([chance_of_a_hit(bought, user, scores, 9) for user in range(20)]))
        assert 0 < expected < 1
    assert run.metrics["protocol"]["ties"] == "count against the model"
    assert run.metrics["protocol"]["tied targets"].startswith("validation 0.0%, test 0.0% have the score of another")


def chance_of_a_hit(bought: list[tuple[int, int, int]], user: int, scores: dict[int, float], k: int) -> float:
    """That of the user's last item among the first k, if equal scores are in random order."""
    *seen, target = [item for other, item, _ in bought if other == user]
    left = [score for item, score in scores.items() if item not in seen]
    above, level = sum(score > scores[target] for score in left), left.count(scores[target])
    return min(max((k - above) / level, 0.0), 1.0)

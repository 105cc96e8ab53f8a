"""A third-party package adds a new kind of prediction, which the core does not know."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lorarec
from lorarec.errors import IncompatibleError, LorarecError
from lorarec.inference.answer_files import predict_file
from lorarec.inference.recommender import Recommender
from lorarec.inference.requests import UnknownIdWarning
from lorarec.pipeline.calibrate import calibrate
from lorarec.pipeline.check import check
from lorarec.pipeline.compare import compare
from lorarec.pipeline.evaluate import compare_lists, evaluate
from lorarec.testing import check_metric, check_task_head

Make = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the package on the path like an installed distribution, so that its entry point is discovered."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "family"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recommender]:
    """Finished runs by name, trained on first use."""
    return {}


@pytest.fixture
def run(runs: dict[str, Recommender], recipe: Make, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    if "one" not in runs:
        folder = tmp_path_factory.mktemp("third")
        for name, rate in (("one", 1e-2), ("other", 1e-3)):
            runs[name] = lorarec.train(
                recipe(head="yes_no", train={"learning_rate": rate, "epochs": 6}), output=folder / name
            )
    return runs["one"]


def requests(run: Recommender) -> tuple[list[str], list[list[str]]]:
    """Every item with the same history."""
    ids = run.catalog.ids
    return ids, [[ids[7], ids[1], ids[30]]] * len(ids)


def test_it_trains_and_is_evaluated_by_its_own_metric_and_by_ours(run: Recommender) -> None:
    metrics = run.metrics
    assert metrics["monitor"] == "token_accuracy"
    lines = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    for part in ("validation", "test"):
        assert set(metrics[part]) == {"token_accuracy", "auc"}
        bounds = metrics["intervals"][part]["metrics"]["token_accuracy"]
        assert bounds["low"] <= metrics[part]["token_accuracy"] <= bounds["high"]
    assert metrics["protocol"]["evaluated"] == "every held-out row by the predicted token"
    assert metrics["baselines"] == {}


def test_evaluating_it_again_gives_the_same_metrics(run: Recommender) -> None:
    again = evaluate(run.path)
    assert again["test"] == run.metrics["test"] and again["validation"] == run.metrics["validation"]


def test_it_predicts_tokens_and_none_for_unknown_items(run: Recommender) -> None:
    items, histories = requests(run)
    with pytest.warns(UnknownIdWarning, match="unheard-of"):
        tokens = run.predict([*items, "unheard-of"], [*histories, []])
    assert set(tokens[:-1]) <= {"yes", "no"} and tokens[-1] is None
    bias = run.model.head.get_parameter("tokens.bias")
    yes, trained = import_module("their_tokens").TOKENS.index("yes"), bias.detach().clone()
    for change, token in ((100.0, "yes"), (-100.0, "no")):
        with torch.no_grad():
            bias[yes] += change
        assert set(run.predict(items, histories)) == {token}, "the most probable token is predicted"
        with torch.no_grad():
            bias.copy_(trained)


def test_a_loaded_run_predicts_the_same(run: Recommender) -> None:
    items, histories = requests(run)
    assert lorarec.load(run.path).predict(items, histories).tolist() == run.predict(items, histories).tolist()


def test_answers_in_files_are_in_the_column_that_it_names(run: Recommender, tmp_path: Path) -> None:
    items, _ = requests(run)
    (tmp_path / "in.csv").write_text("\n".join(["item,history", *(f"{item}," for item in items[:5]), "new,"]) + "\n")
    predict_file(run, tmp_path / "in.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        answers = [row["answer"] for row in csv.DictReader(file)]
    assert answers == [*run.predict(items[:5], [[]] * 5), ""]


def test_two_runs_are_compared_on_the_same_rows(run: Recommender, runs: dict[str, Recommender]) -> None:
    comparison = compare([run.path, runs["other"].path])
    assert [row.metric for row in comparison.rows] == ["token_accuracy", "auc"]
    assert comparison.rows[0].first == run.metrics["test"]["token_accuracy"]


def test_commands_that_it_does_not_support_are_refused_by_name(run: Recommender) -> None:
    unsupported: list[Callable[[], Any]] = [
        lambda: run.recommend([[]]),
        lambda: run.recommend([[]], approximate=True),
        lambda: calibrate(run.path),
        lambda: compare_lists(run.path, 0.3),
    ]
    for call in unsupported:
        with pytest.raises(IncompatibleError, match="head 'yes_no'"):
            call()


def test_metrics_of_other_predictions_are_refused_with_the_names_of_those_that_fit(recipe: Make) -> None:
    with pytest.raises(LorarecError, match=r"metric 'ndcg' needs ranks, which .*'yes_no' .*token_accuracy"):
        lorarec.train(recipe(head="yes_no", evaluate={"metrics": ["ndcg@10"]}))
    with pytest.raises(LorarecError, match=r"metric 'token_accuracy' needs tokens, which head 'ctr' does not give"):
        lorarec.train(recipe(head="ctr", evaluate={"metrics": ["token_accuracy"]}))


def test_it_can_be_checked_before_training(recipe: Make) -> None:
    report = check(recipe(head="yes_no"))
    assert report.groups["head"] == 2 * 32 + 2 and np.isfinite(report.estimated_seconds)


def test_it_satisfies_the_laws_of_heads_and_of_metrics() -> None:
    theirs = import_module("their_tokens")
    check_task_head(theirs.YesNo)
    tokens = np.tile([0, 1, 1], 4)
    check_metric(theirs.TokenAccuracy, (tokens, 1 - tokens, tokens.astype(float)))
    with pytest.raises(AssertionError, match="give `cases`: what predictions 'tokens' look like"):
        check_metric(theirs.TokenAccuracy)

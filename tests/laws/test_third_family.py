"""A family of answers that the core has never heard of joins from a package of its own."""

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
    """On the path as an installed distribution is: found by its entry point."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "family"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recommender]:
    """Finished runs by their names, trained when first asked for."""
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


def asked(run: Recommender) -> tuple[list[str], list[list[str]]]:
    """Every item for one history."""
    ids = run.catalog.ids
    return ids, [[ids[7], ids[1], ids[30]]] * len(ids)


def test_it_trains_and_is_judged_by_its_own_metric_and_by_ours(run: Recommender) -> None:
    metrics = run.metrics
    assert metrics["monitor"] == "token_accuracy"
    lines = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    for part in ("validation", "test"):
        assert set(metrics[part]) == {"token_accuracy", "auc"}
        bounds = metrics["intervals"][part]["metrics"]["token_accuracy"]
        assert bounds["low"] <= metrics[part]["token_accuracy"] <= bounds["high"]
    assert metrics["protocol"]["judged"] == "every held-out row by the token that is said"
    assert metrics["baselines"] == {}


def test_it_is_judged_again_as_it_was(run: Recommender) -> None:
    again = evaluate(run.path)
    assert again["test"] == run.metrics["test"] and again["validation"] == run.metrics["validation"]


def test_it_answers_in_words_and_says_nothing_of_items_that_nobody_knows(run: Recommender) -> None:
    items, histories = asked(run)
    with pytest.warns(UnknownIdWarning, match="nobody knows it"):
        said = run.predict([*items, "nobody knows it"], [*histories, []])
    assert set(said[:-1]) <= {"yes", "no"} and said[-1] is None
    bias = run.model.head.get_parameter("tokens.bias")
    yes, trained = import_module("their_tokens").TOKENS.index("yes"), bias.detach().clone()
    for push, word in ((100.0, "yes"), (-100.0, "no")):
        with torch.no_grad():
            bias[yes] += push
        assert set(run.predict(items, histories)) == {word}, "what is likeliest is said"
        with torch.no_grad():
            bias.copy_(trained)


def test_a_loaded_run_says_the_same(run: Recommender) -> None:
    items, histories = asked(run)
    assert lorarec.load(run.path).predict(items, histories).tolist() == run.predict(items, histories).tolist()


def test_answers_in_files_stand_in_a_column_of_its_name(run: Recommender, tmp_path: Path) -> None:
    items, _ = asked(run)
    (tmp_path / "in.csv").write_text("\n".join(["item,history", *(f"{item}," for item in items[:5]), "new,"]) + "\n")
    predict_file(run, tmp_path / "in.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        said = [row["answer"] for row in csv.DictReader(file)]
    assert said == [*run.predict(items[:5], [[]] * 5), ""]


def test_two_runs_are_compared_on_the_same_rows(run: Recommender, runs: dict[str, Recommender]) -> None:
    found = compare([run.path, runs["other"].path])
    assert [row.metric for row in found.rows] == ["token_accuracy", "auc"]
    assert found.rows[0].first == run.metrics["test"]["token_accuracy"]


def test_what_makes_no_sense_for_it_is_refused_by_name(run: Recommender) -> None:
    refused: list[Callable[[], Any]] = [
        lambda: run.recommend([[]]),
        lambda: run.recommend([[]], approximate=True),
        lambda: calibrate(run.path),
        lambda: compare_lists(run.path, 0.3),
    ]
    for ask in refused:
        with pytest.raises(IncompatibleError, match="head 'yes_no'"):
            ask()


def test_metrics_of_another_family_are_refused_with_those_that_fit(recipe: Make) -> None:
    with pytest.raises(LorarecError, match=r"metric 'ndcg' needs ranks, which .*'yes_no' .*token_accuracy"):
        lorarec.train(recipe(head="yes_no", evaluate={"metrics": ["ndcg@10"]}))
    with pytest.raises(LorarecError, match=r"metric 'token_accuracy' needs tokens, which head 'ctr' does not give"):
        lorarec.train(recipe(head="ctr", evaluate={"metrics": ["token_accuracy"]}))


def test_the_check_before_training_knows_it(recipe: Make) -> None:
    report = check(recipe(head="yes_no"))
    assert report.groups["head"] == 2 * 32 + 2 and np.isfinite(report.estimated_seconds)


def test_it_keeps_the_laws_of_heads_and_of_metrics() -> None:
    theirs = import_module("their_tokens")
    check_task_head(theirs.YesNo)
    said = np.tile([0, 1, 1], 4)
    check_metric(theirs.TokenAccuracy, (said, 1 - said, said.astype(float)))
    with pytest.raises(AssertionError, match="give `cases`: what predictions 'tokens' look like"):
        check_metric(theirs.TokenAccuracy)

"""Recommending gives the scores of predicting each pair, for any block size, and encodes the catalog once for a set of
weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

import lorarec
from lorarec.contracts import ReadOptions, pair_predictor
from lorarec.errors import LorarecError
from lorarec.inference.recommender import Recommender
from lorarec.inference.request_format import RequestFormat
from lorarec.model import encoded_catalog
from lorarec.pipeline.evaluate import evaluate
from lorarec.prediction import ranking

Make = Callable[..., dict[str, Any]]
HEADS: dict[str, Any] = {
    "rating": "rating",
    "rating_process": "rating_process",
    "ctr": {"name": "ctr", "biases": True},
    "ctr_ridge": {"name": "ctr_ridge", "biases": True},
    "ctr joint": {"name": "ctr", "encoding": "joint", "max_history": 3},
    "next_item": {"name": "next_item", "width": 16},
}
LIKED = [[5.0, 1.0, 4.0], [], [2.0]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Recommender]:
    """finished(head, recipe): a short run of a head, trained once."""
    runs: dict[str, Recommender] = {}

    def run(head: str, recipe: Make) -> Recommender:
        if head not in runs:
            settings = recipe("lora", HEADS[head], train={"max_steps": 2, "epochs": 1})
            runs[head] = lorarec.train(settings, output=tmp_path_factory.mktemp("runs") / "run")
        return runs[head]

    return run


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of every catalog block that is encoded for a table."""
    rows: list[int] = []
    plain = encoded_catalog._encoded

    def counted(model: Any, collation: Any, block: np.ndarray, device: Any) -> Tensor:
        rows.append(len(block))
        return plain(model, collation, block, device)

    monkeypatch.setattr(encoded_catalog, "_encoded", counted)
    return rows


def histories(run: Recommender) -> list[list[str]]:
    ids = run.catalog.ids
    return [[ids[7], ids[1], ids[30]], [], [ids[11]]]


@pytest.mark.parametrize("head", HEADS)
def test_recommended_items_have_the_scores_of_predicting_each_pair(
    head: str, finished: Callable[..., Recommender], recipe: Make
) -> None:
    run = finished(head, recipe)
    given, ids = histories(run), run.catalog.ids
    for history, liked, answer in zip(given, LIKED, run.recommend(given, k=100, feedback=LIKED), strict=True):
        unseen = [item for item in ids if item not in history]
        scores = run.predict(unseen, [history] * len(unseen), [liked] * len(unseen))
        assert [entry.score for entry in answer] == pytest.approx(sorted(scores, reverse=True), rel=1e-4, abs=1e-5)
        by_item = dict(zip(unseen, scores, strict=True))
        assert {entry.item: entry.score for entry in answer} == pytest.approx(by_item, rel=1e-4, abs=1e-5)
        assert [entry.title for entry in answer] == [run.catalog.titles()[ids.index(entry.item)] for entry in answer]


@pytest.mark.parametrize("head", HEADS)
def test_answers_do_not_depend_on_the_block_size(
    head: str, finished: Callable[..., Recommender], recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(head, recipe)
    given = histories(run)
    whole = run.recommend(given, k=100, feedback=LIKED)
    monkeypatch.setattr(pair_predictor, "PAIRS", 7)
    monkeypatch.setattr(ranking, "SCORES", 90)
    parts = run.recommend(given, k=100, feedback=LIKED)
    for answer, again in zip(whole, parts, strict=True):
        assert {entry.item: entry.score for entry in again} == pytest.approx(
            {entry.item: entry.score for entry in answer}, rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize("head", HEADS)
def test_candidates_are_ranked_as_in_the_whole_catalog_and_no_other_item_is_scored(
    head: str, finished: Callable[..., Recommender], recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(head, recipe)
    given, some = histories(run), [run.catalog.ids[row] for row in (30, 3, 17, 3, 8)]
    pairs: list[int] = []
    plain = pair_predictor._scores

    def counted(run: Any, requests: Any, size: int, method: str) -> Any:
        pairs.append(len(requests) if method == "preference" else 0)
        return plain(run, requests, size, method)

    everything = run.recommend(given, k=100, feedback=LIKED)
    monkeypatch.setattr(pair_predictor, "_scores", counted)
    restricted = run.recommend(given, k=100, feedback=LIKED, candidates=some)
    for answer, whole in zip(restricted, everything, strict=True):
        assert [entry.item for entry in answer] == [entry.item for entry in whole if entry.item in some]
    assert sum(pairs) == (0 if head == "next_item" else 3 * 4)


def test_tables_of_every_argument_may_have_the_names_of_the_training_data(
    finished: Callable[..., Recommender], recipe: Make
) -> None:
    names = {"item": "sku", "history": "bought", "history_feedback": "stars"}
    form = RequestFormat(names, ReadOptions(decimal=","))
    run = replace(finished("rating", recipe), request_format=form)
    some = run.catalog.ids[:5]
    bought, stars = pd.DataFrame({"bought": [some[:2]]}), pd.DataFrame({"stars": [[5.0, 1.0]]})
    answer = run.recommend([some[:2]], feedback=[[5.0, 1.0]], candidates=some)
    assert run.recommend(bought, feedback=stars, candidates=pd.DataFrame({"sku": some})) == answer
    score = run.predict([some[4]], [some[:2]], [[5.0, 1.0]])
    assert run.predict(pd.DataFrame({"sku": [some[4]]}), bought, stars) == score
    written = pd.DataFrame({"sku": [some[4]], "bought": [some[0]], "stars": ["4,5"]})
    assert run.predict(written) == run.predict([some[4]], [some[:1]], [[4.5]])


@pytest.mark.skipif(find_spec("faiss") is None, reason="the extra 'index' is not installed")
def test_on_a_small_catalog_the_index_finds_the_items_of_the_exact_answer(
    finished: Callable[..., Recommender], recipe: Make
) -> None:
    run = finished("next_item", recipe)
    for options in ({}, {"seen": "keep"}):
        exact = run.recommend(histories(run), k=5, **options)
        approximate = run.recommend(histories(run), k=5, approximate=True, **options)
        assert [[(entry.item, entry.title) for entry in answer] for answer in approximate] == [
            [(entry.item, entry.title) for entry in answer] for answer in exact
        ]
        assert [entry.score for entry in approximate[0]] == pytest.approx([entry.score for entry in exact[0]], rel=1e-5)


def test_approximate_is_refused_if_it_is_not_supported(finished: Callable[..., Recommender], recipe: Make) -> None:
    run = finished("ctr", recipe)
    with pytest.raises(LorarecError, match=r"head 'ctr' scores each pair .* Leave approximate out"):
        run.recommend(histories(run), approximate=True)
    run = finished("next_item", recipe)
    with pytest.raises(LorarecError, match="leave it out if candidates are given"):
        run.recommend(histories(run), approximate=True, candidates=run.catalog.ids[:3])


def test_evaluating_in_small_blocks_gives_the_same_metrics(
    finished: Callable[..., Recommender], recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished("next_item", recipe)
    monkeypatch.setattr(ranking, "SCORES", 90)
    again = evaluate(run.path)
    assert again["baselines"] == run.metrics["baselines"]
    assert again["test"] == pytest.approx(run.metrics["test"])


@pytest.mark.parametrize("head", ["rating", "rating_process", "next_item"])
def test_the_catalog_is_encoded_once_for_a_set_of_weights(
    head: str, recipe: Make, tmp_path: Path, encoded: list[int]
) -> None:
    run = lorarec.train(recipe("lora", HEADS[head], train={"epochs": 1}), output=tmp_path / "run")
    # One evaluation on validation while training; everything after training shares a table. If items are ranked, the
    # baseline "nearest text" encodes them once with the backbone before training.
    baseline = int(head == "next_item")
    assert encoded == [40] * (2 + baseline)
    run.recommend(histories(run), k=5, feedback=LIKED)
    assert encoded == [40] * (2 + baseline)
    evaluate(tmp_path / "run")
    assert encoded == [40] * (3 + 2 * baseline)


def test_the_catalog_is_encoded_once_if_nothing_below_the_head_trains(
    recipe: Make, tmp_path: Path, encoded: list[int]
) -> None:
    run = lorarec.train(recipe("frozen", HEADS["next_item"]), output=tmp_path / "run")
    run.recommend(histories(run), k=5)
    assert encoded == [40]


@pytest.mark.parametrize("head", ["ctr", "next_item"])
def test_a_frozen_run_in_mixed_precision_answers_as_it_does_when_loaded(
    head: str, recipe: Make, tmp_path: Path
) -> None:
    trained = lorarec.train(recipe("frozen", HEADS[head], train={"precision": "bf16"}), output=tmp_path / "run")
    assert lorarec.load(tmp_path / "run").recommend(histories(trained), k=5) == trained.recommend(
        histories(trained), k=5
    )

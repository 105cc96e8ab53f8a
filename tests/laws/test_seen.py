"""Items that users take again: `evaluate.seen` masks or keeps them in every ranking, and what it hides is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lorarec
from lorarec.artifact import layout
from lorarec.artifact.layout import write_checksums
from lorarec.cli.main import run as command
from lorarec.errors import LorarecError
from lorarec.inference.recommender import Recommender
from lorarec.pipeline.check import check
from lorarec.pipeline.compare import compare
from lorarec.pipeline.evaluate import compare_lists, evaluate

Make = Callable[..., dict[str, Any]]
SAID = (
    "20 of 20 validation targets and 20 of 20 test targets were taken before by the same user; `evaluate.seen: mask` "
    "makes them unreachable; `evaluate.seen=keep` lets them in"
)
QUICK = {"epochs": 6}


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """20 users who play their own three of 12 artists in turn, 10 times."""
    folder = tmp_path_factory.mktemp("plays")
    lines = [f"u{user},a{(user + 5 * (turn % 3)) % 12},{turn}" for user in range(20) for turn in range(10)]
    (folder / "interactions.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    words = ("red", "green", "blue", "loud")
    titles = [f"a{item},{words[item % 4]} {words[item // 4]} band" for item in range(12)]
    (folder / "items.csv").write_text("\n".join(["item,title", *titles]) + "\n")
    return {"source": {"name": "files", "path": str(folder)}, "split": {"by": "last"}}


@pytest.fixture
def settings(recipe: Make, plays: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """settings(seen, head): a recipe on them."""

    def make(seen: str | None, head: Any = "next_item") -> dict[str, Any]:
        evaluation = {} if seen is None else {"seen": seen}
        metrics = {"metrics": ["hr@3", "ndcg@3", "coverage@3"]} if head == "next_item" else {}
        return recipe("frozen", head, data=plays, callbacks=[], evaluate=evaluation | metrics, train=QUICK)

    return make


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recommender]:
    return {}


@pytest.fixture
def finished(
    runs: dict[str, Recommender], tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., dict[str, Any]]
) -> Callable[..., Recommender]:
    """finished(seen, head): a short run, trained once."""

    def train(seen: str | None, head: Any = "next_item") -> Recommender:
        key = f"{seen} {head}"
        if key not in runs:
            runs[key] = lorarec.train(settings(seen, head), output=tmp_path_factory.mktemp("runs") / "run")
        return runs[key]

    return train


def test_by_default_masked_targets_are_counted_wherever_the_evaluation_is_described(
    settings: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run = lorarec.train(settings(None), output=tmp_path / "run")
    assert run.metrics["test"]["hr@3"] == 0
    assert all(of_parts["test"]["hr@3"] == 0 for of_parts in run.metrics["baselines"].values())
    assert sum(SAID in record.message for record in caplog.records) == 1, "the warning of training, once"
    assert run.metrics["leaks"]["unreachable target"] == {"rows": 40, "message": f"{SAID}."}
    unreachable = "validation 20 of 20, test 20 of 20: their users had them before"
    assert run.metrics["protocol"]["unreachable targets"] == unreachable
    report = json.loads((run.path / layout.DATA_REPORT).read_text())
    assert report["repeated"] == {"validation": 20, "test": 20} and report["seen"] == "mask"
    assert SAID in (run.path / layout.MODEL_CARD).read_text()
    lines = check(settings(None)).lines()
    assert f"  {SAID}" in lines and f"  unreachable target: {SAID}." in lines


def test_keeping_them_gives_the_model_and_each_baseline_a_value_and_recommends_again(
    finished: Callable[..., Recommender],
) -> None:
    run = finished("keep")
    assert run.metrics["test"]["hr@3"] > 0
    assert {"popularity", "most recent", "nearest text"} == run.metrics["baselines"].keys()
    assert all(of_parts["test"]["hr@3"] > 0 for of_parts in run.metrics["baselines"].values())
    assert "unreachable targets" not in run.metrics["protocol"] and "unreachable target" not in run.metrics["leaks"]
    assert run.metrics["protocol"]["seen items"].startswith("kept")
    assert evaluate(run.path)["test"] == pytest.approx(run.metrics["test"])

    loaded, histories = lorarec.load(run.path), [["a0", "a5", "a10"] * 3, []]
    by_default = loaded.recommend(histories, k=12)
    assert by_default == loaded.recommend(histories, k=12, seen="keep") == run.recommend(histories, k=12)
    assert [len(one) for one in by_default] == [12, 12]
    masked = loaded.recommend(histories, k=12, seen="mask")
    assert masked[0] == [one for one in by_default[0] if one.item not in histories[0]] and masked[1] == by_default[1]
    measures = {name: plain for name, plain, _ in compare_lists(run.path, 0.3, k=3)}
    assert measures["hit rate of the first 3"] == pytest.approx(run.metrics["test"]["hr@3"])
    with pytest.raises(LorarecError, match="seen is 'both': say 'mask'"):
        loaded.recommend(histories, seen="both")  # type: ignore[arg-type]


def test_the_command_recommends_as_the_run_was_evaluated_or_as_it_is_asked(
    finished: Callable[..., Recommender], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, asked = finished("keep"), tmp_path / "asked.jsonl"
    asked.write_text('{"history": ["a0", "a5", "a10"]}\n')
    items = {}
    for given in ((), ("--seen", "keep"), ("--seen", "mask")):
        answers = tmp_path / f"answers{len(items)}.jsonl"
        arguments = ["recommend", str(run.path), "--histories", str(asked), "--output", str(answers), "-k", "12"]
        assert command([*arguments, *given]) == 0
        items[given] = [json.loads(line)["item"] for line in answers.read_text().splitlines()]
    assert items[()] == items["--seen", "keep"] and len(items[()]) == 12
    assert set(items["--seen", "mask"]) == set(items[()]) - {"a0", "a5", "a10"}
    assert "fewer than 12 items: the catalog has no more items that are not in their history" in capsys.readouterr().err


def test_runs_that_rank_seen_items_and_runs_that_do_not_are_not_compared(finished: Callable[..., Recommender]) -> None:
    first, second = finished(None), finished("keep")
    with pytest.raises(LorarecError, match=r"evaluated differently:\n  seen items: masked.* / kept"):
        compare([first.path, second.path])


def test_a_run_of_a_former_version_masks(finished: Callable[..., Recommender], tmp_path: Path) -> None:
    run = lorarec.load(shutil.copytree(finished(None).path, tmp_path / "run"))
    path = run.path / layout.RECIPE
    text = path.read_text()
    assert "  seen: mask\n" in text
    path.write_text(text.replace("  seen: mask\n", ""))
    write_checksums(run.path)
    assert lorarec.load(run.path).seen == "mask"
    former = run.metrics["protocol"] | {"seen items": "masked: what the user had before is out of the ranking"}
    assert evaluate(run.path)["protocol"] == former


@pytest.mark.parametrize("head", [{"name": "ctr", "negatives": 2}, {"name": "ctr_ridge", "negatives": 2}])
def test_heads_that_score_pairs_recommend_by_it_and_are_evaluated_without_it(
    head: dict[str, Any], finished: Callable[..., Recommender]
) -> None:
    kept, masked = finished("keep", head), finished("mask", head)
    history = [["a0", "a5", "a10"]]
    assert len(kept.recommend(history, k=12)[0]) == 12 and len(masked.recommend(history, k=12)[0]) == 9
    assert kept.metrics["test"] == masked.metrics["test"] and not kept.metrics["leaks"].get("unreachable target")

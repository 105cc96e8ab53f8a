"""Histories without the feedback that a run learned from: their items are read as liked, so that lists differ."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lorarec
from lorarec.artifact import layout
from lorarec.artifact.layout import write_checksums
from lorarec.cli.main import run as command
from lorarec.inference.recommender import Recommender
from lorarec.inference.requests import MissingFeedbackWarning

Make = Callable[..., dict[str, Any]]
HEADS = ("rating", "ctr", "rating_ridge", "ctr_ridge", "rating_process", "next_item with feedback")


@pytest.fixture(scope="module")
def runs() -> dict[str, Recommender]:
    return {}


@pytest.fixture
def finished(
    runs: dict[str, Recommender], recipe: Make, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Recommender]:
    """finished(head): a short run, trained once."""

    def train(head: str) -> Recommender:
        if head not in runs:
            settings: Any = {"name": "next_item", "feedback": True} if head == "next_item with feedback" else head
            given = recipe("frozen", settings, train={"max_steps": 3, "epochs": 1, "batch_size": 64}, callbacks=[])
            runs[head] = lorarec.train(given, output=tmp_path_factory.mktemp("runs") / "run")
        return runs[head]

    return train


def items_of(answers: list[Any]) -> list[list[str]]:
    return [[entry.item for entry in answer] for answer in answers]


@pytest.mark.parametrize("head", HEADS)
def test_lists_of_histories_without_feedback_are_those_of_liked_items_and_differ(
    head: str, finished: Callable[[str], Recommender]
) -> None:
    run = finished(head)
    ids, liked = run.catalog.ids, run.statistics.liked_feedback
    assert liked is not None and liked > run.statistics.liked_above
    histories = [[ids[1], ids[4]], [ids[20], ids[33]], [], [ids[7], ids[8]]]
    some = [[np.nan, np.nan], [np.nan, 1.0], [], [0.0, 1.0]]
    with pytest.warns(MissingFeedbackWarning, match=r"^3 of 4 histories come without feedback") as said:
        lists = run.recommend(histories, k=38, seen="keep")
    assert len([warning for warning in said if warning.category is MissingFeedbackWarning]) == 1
    assert lists == run.recommend(histories, k=38, feedback=[[liked] * len(one) for one in histories], seen="keep")
    assert len({tuple(one) for one in items_of([lists[0], lists[1], lists[3]])}) == 3, "one list for everyone"
    with pytest.warns(MissingFeedbackWarning, match=r"^1 of 4 histories"):
        mixed = run.recommend(histories, k=38, feedback=some, seen="keep")
    assert mixed[0] == lists[0] and mixed[1] != lists[1] and mixed[2] == lists[2]
    with pytest.warns(MissingFeedbackWarning):
        scores = run.predict([lists[0][0].item], [histories[0]])
    assert scores == pytest.approx([lists[0][0].score], rel=1e-4)


@pytest.mark.parametrize("head", ["next_item", {"name": "ctr", "negatives": 2}])
def test_a_run_that_learned_from_no_feedback_needs_none(
    head: Any, recipe: Make, events_alone: dict[str, Any], tmp_path: Path
) -> None:
    data = {"source": events_alone, "split": {"by": "time", "validation": 0.15, "test": 0.15}}
    run = lorarec.train(
        recipe("frozen", head, data=data, train={"max_steps": 1}, callbacks=[]), output=tmp_path / "run"
    )
    assert run.statistics.liked_feedback is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", MissingFeedbackWarning)
        first, second = items_of(run.recommend([["i1", "i2"], ["i30", "i31"]], k=40, seen="keep"))
    assert first != second


def test_commands_say_it_once_and_new_users_have_nothing_to_say(
    finished: Callable[[str], Recommender], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, asked = finished("rating"), tmp_path / "asked.csv"
    for kind, option in (("recommend", "--histories"), ("predict", "--input")):
        asked.write_text("item,history\ni1,i2|i3\ni1,i4\ni1,\n")
        assert command([kind, str(run.path), option, str(asked), "--output", str(tmp_path / f"{kind}.csv")]) == 0
        printed = capsys.readouterr().err
        assert printed.count("without feedback") == 1 and "2 of 3 histories come without feedback" in printed
        asked.write_text("item,history\ni1,\n")
        assert command([kind, str(run.path), option, str(asked), "--output", str(tmp_path / f"{kind}.csv")]) == 0
        assert "feedback" not in capsys.readouterr().err


def test_a_run_of_a_former_version_reads_them_as_the_mean_of_its_liked_levels(
    finished: Callable[[str], Recommender], tmp_path: Path
) -> None:
    folder = shutil.copytree(finished("rating").path, tmp_path / "run")
    numbers = json.loads((folder / layout.STATISTICS).read_text())
    del numbers["liked_feedback"]
    (folder / layout.STATISTICS).write_text(json.dumps(numbers))
    write_checksums(folder)
    run = lorarec.load(folder)
    above = [level for level in run.statistics.label_levels if level > run.statistics.liked_above]
    assert run.statistics.liked_feedback == pytest.approx(np.mean(above))


@pytest.mark.parametrize("head", ["rating", "rating_ridge", "rating_process"])
def test_a_generous_user_gets_the_best_items_first_although_all_have_the_most_stars(
    head: str, finished: Callable[[str], Recommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(head)
    history, stars = [run.catalog.ids[1], run.catalog.ids[4]], [[5.0, 5.0]]
    plain = run.recommend([history], k=38, feedback=stars)
    monkeypatch.setattr(run.model.head, "_range", (1.0, 1.5))
    cut = run.recommend([history], k=38, feedback=stars)
    assert items_of(cut) == items_of(plain)
    assert {entry.score for entry in cut[0]} == {1.5}
    assert run.predict([cut[0][0].item], [history], stars).tolist() == [1.5]

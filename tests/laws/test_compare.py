"""Runs are compared on the same test rows, and only if they were evaluated in the same way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import lorarec
from lorarec.artifact import layout
from lorarec.artifact.layout import write_checksums
from lorarec.cli.main import run as command
from lorarec.errors import LorarecError
from lorarec.pipeline.compare import compare

Make = Callable[..., dict[str, Any]]
QUICK = {"max_steps": 1, "epochs": 1}


def with_scores(folder: Path, column: str, change: Callable[[np.ndarray], np.ndarray], metric: str) -> None:
    """Replace the scores of a run by those of a better or worse model, and the metric's value with them."""
    table = pq.read_table(folder / layout.TEST_SCORES)
    values = change(table.column(column).to_numpy())
    table = table.set_column(table.column_names.index(column), column, [values])
    pq.write_table(table, folder / layout.TEST_SCORES)
    metrics = json.loads((folder / layout.METRICS).read_text())
    metrics["test"][metric] = float(np.mean(values < 10))
    (folder / layout.METRICS).write_text(json.dumps(metrics))
    write_checksums(folder)


def test_a_model_with_better_ranks_is_better_and_one_with_the_same_ranks_is_equal(
    recipe: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recipe("frozen", "next_item", train=QUICK, evaluate={"metrics": ["hr@10", "coverage@5"]})
    for name in ("first", "twin", "better"):
        lorarec.train(settings, output=tmp_path / name)
    with_scores(tmp_path / "better", "rank", lambda ranks: ranks // 3, "hr@10")
    comparison = compare([tmp_path / name for name in ("first", "twin", "better")])
    assert [row.metric for row in comparison.rows] == ["hr@10", "hr@10"]
    twin, better = comparison.rows
    assert (twin.low, twin.high, twin.better) == (0.0, 0.0, 0.0)
    assert better.low is not None and better.high is not None
    assert 0 < better.low < better.value - better.first < better.high
    assert better.better == 1.0
    assert "coverage@5 is left out" in " ".join(comparison.notes())

    assert command(["compare", str(tmp_path / "first"), str(tmp_path / "better")]) == 0
    printed = capsys.readouterr().out
    assert "hr@10" in printed and "Paired percentile bootstrap of the difference over" in printed


def test_the_stored_scores_give_the_metrics_of_the_run_and_hold_no_histories(recipe: Make, tmp_path: Path) -> None:
    run = lorarec.train(recipe("frozen", "ctr", train=QUICK), output=tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / layout.TEST_SCORES)
    assert table.column_names == ["user", "score", "label"]
    comparison = compare([tmp_path / "run", tmp_path / "run"])
    assert {row.metric: row.value for row in comparison.rows} == pytest.approx(run.metrics["test"])

    recipe_file = tmp_path / "run" / layout.RECIPE
    recipe_file.write_text(recipe_file.read_text().replace("  loss:\n", "  label_smoothing: 0.1\n  loss:\n"))
    write_checksums(tmp_path / "run")
    with pytest.raises(LorarecError, match=r"its recipe is of another version .*\n.*label_smoothing is a setting of"):
        compare([tmp_path / "run", tmp_path / "run"])


def test_runs_that_were_evaluated_differently_are_refused_and_the_difference_is_named(
    recipe: Make, tmp_path: Path
) -> None:
    settings = recipe("frozen", "ctr", train=QUICK)
    lorarec.train(settings, output=tmp_path / "time")
    lorarec.train(settings, ["data.split={by: random}"], output=tmp_path / "random")
    lorarec.train(settings, ["evaluate.metrics=[f1]"], output=tmp_path / "f1")
    with pytest.raises(LorarecError, match=r"were evaluated differently:\n  split: by time.* / random rows") as refused:
        compare([tmp_path / "time", tmp_path / "random"])
    assert "split fingerprint: " in str(refused.value)
    with pytest.raises(LorarecError, match=r"share no metric .* auc, log_loss; f1"):
        compare([tmp_path / "time", tmp_path / "f1"])
    with pytest.raises(LorarecError, match="at least two runs"):
        compare([tmp_path / "time"])


def test_runs_trained_on_fewer_rows_or_other_texts_are_compared_with_a_remark(recipe: Make, tmp_path: Path) -> None:
    settings = recipe("frozen", "next_item", train=QUICK, evaluate={"metrics": ["hr@10"]})
    others = {"few": "data.split.train_rows=60", "text": "data.item_text=an item: {title}"}
    lorarec.train(settings, output=tmp_path / "all")
    for name, override in others.items():
        lorarec.train(settings, [override], output=tmp_path / name)
    comparison = compare([tmp_path / name for name in ("all", *others)])
    assert [row.run for row in comparison.rows] == [str(tmp_path / name) for name in others]
    for name in others:
        remark = f"{tmp_path / name} was evaluated on the same rows as {tmp_path / 'all'}, but trained on different"
        assert remark in " ".join(comparison.notes())


def test_runs_that_mask_other_items_are_refused(recipe: Make, tmp_path: Path) -> None:
    settings = recipe("frozen", "next_item", train=QUICK, evaluate={"metrics": ["hr@10"]})
    settings["data"]["split"] = {"by": "random", "validation": 0.15, "test": 0.15}
    lorarec.train(settings, output=tmp_path / "all")
    lorarec.train(settings, ["data.split.train_rows=100"], output=tmp_path / "few")
    with pytest.raises(
        LorarecError, match=r"were evaluated differently:\n  split fingerprint: .*\n  test fingerprint: "
    ):
        compare([tmp_path / "all", tmp_path / "few"])

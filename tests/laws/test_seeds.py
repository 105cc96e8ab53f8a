"""Several seeds give several runs, with the mean and standard deviation of their metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lorarec
from lorarec.cli.main import run as command
from lorarec.config.yaml_text import write_yaml
from lorarec.errors import LorarecError
from lorarec.pipeline.train_seeds import seeds_of, train_seeds

Make = Callable[..., dict[str, Any]]
QUICK = {"max_steps": 2, "epochs": 1}


def test_each_seed_gives_a_run_and_the_table_shows_mean_and_standard_deviation(
    recipe: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "law.yaml"
    file.write_text(write_yaml(recipe("frozen", "ctr", train=QUICK)))
    assert command(["train", str(file), "seeds=1,2", "--output", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    losses = [lorarec.load(tmp_path / f"run-seed{seed}").metrics["test"]["log_loss"] for seed in (1, 2)]
    assert losses[0] != losses[1]
    (line,) = [line.split() for line in printed.splitlines() if line.split()[:2] == ["test", "log_loss"]]
    assert line[2:] == [f"{number:.4f}" for number in (np.mean(losses), np.std(losses, ddof=1), *losses)]
    assert "Each seed drew different rows" not in printed

    alone = lorarec.train(recipe("frozen", "ctr", train=QUICK), ["seed=2"], output=tmp_path / "alone")
    assert alone.metrics["test"]["log_loss"] == losses[1]


def test_finished_runs_are_kept_when_a_series_is_resumed_and_refused_otherwise(recipe: Make, tmp_path: Path) -> None:
    settings = recipe("frozen", "ctr", train=QUICK)
    lorarec.train(settings, ["seed=1"], output=tmp_path / "run-seed1")
    before = (tmp_path / "run-seed1" / "metrics.json").stat().st_mtime_ns
    with pytest.raises(LorarecError, match="run-seed1 exists"):
        train_seeds(settings, [2, 1], output=tmp_path / "run")
    assert not (tmp_path / "run-seed2").exists()
    report = train_seeds(settings, [1, 2], output=tmp_path / "run", resume=True)
    assert (tmp_path / "run-seed1" / "metrics.json").stat().st_mtime_ns == before
    assert (tmp_path / "run-seed2" / "metrics.json").is_file()
    with pytest.raises(LorarecError, match=r"another recipe.*\n  train.max_steps: was 2, is 1"):
        train_seeds(settings, [1, 2], ["train.max_steps=1"], output=tmp_path / "run", resume=True)
    assert report.one_split and [spread.metric for spread in report.spreads] == ["auc", "log_loss"] * 2


def test_items_sampled_for_evaluation_are_part_of_the_spread(
    recipe: Make, events_alone: dict[str, Any], tmp_path: Path
) -> None:
    settings = recipe("frozen", {"name": "ctr", "negatives": 2}, train=QUICK)
    settings["data"] = {**settings["data"], "source": events_alone}
    assert not train_seeds(settings, [1, 2], output=tmp_path / "run").one_split


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seeds=1,x"], "whole numbers"),
        (["seeds=1,²"], "whole numbers"),
        (["seeds=1," + "9" * 5_000], "whole numbers"),
        (["seeds=1"], "at least two different seeds"),
        (["seeds=1,1"], "at least two different seeds"),
        (["seeds=1,2", "seed=3"], "both given"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(LorarecError, match=message):
        seeds_of(overrides)


def test_other_overrides_are_left_unchanged() -> None:
    assert seeds_of(["adapter=full", "seeds=[3, 1]"]) == ([3, 1], ["adapter=full"])
    assert seeds_of(["seed=1"]) == ([], ["seed=1"])

"""The benchmarks are run by hand: here only that they can be, and that their clocks tell the truth."""

import importlib
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lorarec.engine.fit import Fit

FOLDER = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(
    path.name for path in FOLDER.glob("*.py") if re.search(r'ArgumentParser.*"__main__"', path.read_text(), re.DOTALL)
)
SMALL = [
    *("data.source.users=40", "data.source.items=30", "data.source.events=300", "train.epochs=2"),
    *("train.batch_size=64", "train.learning_rate=1e-3", "train.save_every=never", "evaluate.metrics=[log_loss]"),
]


@pytest.fixture
def benchmarks(monkeypatch):
    """Import by name what lies among the benchmarks."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - names:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_what_it_measures_without_loading_anything(program):
    started = time.perf_counter()
    done = subprocess.run([sys.executable, FOLDER / program, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert time.perf_counter() - started < 5, "the help should need no torch"


def test_the_readme_names_each_program_and_module():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in FOLDER.glob("*.py")}
    assert set(PROGRAMS) < modules
    assert modules == set(re.findall(r"`(\w+\.py)", text))


def test_pytest_collects_none_of_them():
    assert not [path for pattern in ("test_*.py", "*_test.py") for path in FOLDER.rglob(pattern)]


def test_a_ratio_is_taken_pair_by_pair(benchmarks):
    paired = benchmarks("paired")
    pairs = [(10, 5), (30, 10), (8, 8)]
    found = paired.ratio([{"a": {"rate": a}, "b": {"rate": b}} for a, b in pairs], ("a", "rate"), ("b", "rate"))
    assert list(found.each) == [2, 3, 1]
    assert (found.median, found.of_medians) == (2, 10 / 8)
    assert str(found) == "2.00x (median; 1.00 to 3.00 in 3 pairs; ratio of medians 1.25x)"


def test_sides_run_in_turn_and_one_with_other_threads_is_refused(benchmarks, monkeypatch):
    paired = benchmarks("paired")
    told = []

    def run(command, **_):
        told.append(command[2])
        return SimpleNamespace(
            returncode=0, stdout=f'noise\n{{"threads": {3 if command[2] == "cheat" else 2}}}\n', stderr=""
        )

    monkeypatch.setattr(paired.subprocess, "run", run)
    paired.in_turn([paired.Side("ours", "one"), paired.Side("peer", "other")], 2, threads=2)
    assert told == ["one", "other", "one", "other"]
    with pytest.raises(SystemExit, match="3 threads, not with 2"):
        paired.in_turn([paired.Side("ours", "cheat")], 1, threads=2)


def test_a_side_that_fails_ends_the_program_with_what_it_said(benchmarks):
    paired = benchmarks("paired")
    with pytest.raises(SystemExit, match="No module named"):
        paired.Side("ours", "no_such_module").run(threads=1)


def test_the_watch_counts_each_row_once_an_epoch_and_no_evaluation(benchmarks, tiny_checkpoint, tmp_path, monkeypatch):
    train = benchmarks("ours.train")
    evaluate = Fit._evaluate
    monkeypatch.setattr(Fit, "_evaluate", lambda fit: (time.sleep(1), evaluate(fit)))
    backbone = f"backbone={{name: text, checkpoint: {tiny_checkpoint('bert')}, max_length: 96}}"
    found = train.train("quickstart", [backbone, *SMALL], tmp_path / "run", cost=True)
    assert found["rows"] == 2 * found["rows_in_all"]
    assert len(found["epoch_seconds"]) == 2
    assert max(found["epoch_seconds"]) < 1, "an evaluation takes longer"
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert 0 < found["outside_share"] < 1
    assert 0 < found["padding"] < 1
    # Two blocks of 8192 linear weights, and LoRA's 1024: forward, back through all but the lowest, LoRA's own gradient.
    a_token = found["model_gflops"] * 1e9 / found["tokens_per_second"]
    assert 2 * 2 * 9216 + 2 * 8192 < a_token < 2 * 2 * 2 * 9216 + 2 * 2 * 1024
    assert found["test_log_loss"] == found["test"]["log_loss"]

"""The benchmarks are run by hand: these tests check only that they can be run, and that their timing is correct."""

import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lorarec.engine.guards import Guards

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
    """Imports a module of the benchmarks by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - names:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_a_program_needs_no_heavy_imports(program):
    command = [sys.executable, "-X", "importtime", FOLDER / program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded, "otherwise the list of imports was not read"
    assert not loaded & {"torch", "transformers", "datasets", "lorarec"}


def test_the_readme_names_each_program_and_module():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in FOLDER.glob("*.py")}
    assert set(PROGRAMS) < modules
    assert modules == set(re.findall(r"`(\w+\.py)", text))


def test_pytest_collects_no_benchmark():
    assert not [path for pattern in ("test_*.py", "*_test.py") for path in FOLDER.rglob(pattern)]


def test_a_ratio_is_taken_pair_by_pair(benchmarks):
    paired = benchmarks("paired")
    pairs = [(10, 5), (30, 10), (8, 8)]
    ratio = paired.ratio([{"a": {"rate": a}, "b": {"rate": b}} for a, b in pairs], ("a", "rate"), ("b", "rate"))
    assert list(ratio.each) == [2, 3, 1]
    assert (ratio.median, ratio.of_medians) == (2, 10 / 8)
    assert str(ratio) == "2.00x (median; 1.00 to 3.00 in 3 pairs; ratio of medians 1.25x)"


def test_sides_run_in_turn_and_one_with_other_threads_is_refused(benchmarks, monkeypatch):
    paired = benchmarks("paired")
    calls = []

    def run(command, **_):
        calls.append(command[2])
        return SimpleNamespace(
            returncode=0, stdout=f'noise\n{{"threads": {3 if command[2] == "cheat" else 2}}}\n', stderr=""
        )

    monkeypatch.setattr(paired.subprocess, "run", run)
    paired.in_turn([paired.Side("ours", "one"), paired.Side("peer", "other")], 2, threads=2)
    assert calls == ["one", "other", "one", "other"]
    with pytest.raises(SystemExit, match="3 threads, not with 2"):
        paired.in_turn([paired.Side("ours", "cheat")], 1, threads=2)


def test_a_side_that_fails_ends_the_program_with_its_error(benchmarks):
    paired = benchmarks("paired")
    with pytest.raises(SystemExit, match="No module named"):
        paired.Side("ours", "no_such_module").run(threads=1)


def checkout(folder):
    """A folder that looks like a checkout: its benchmark prints its interpreter, its folder and its arguments."""
    (folder / "tests" / "benchmarks").mkdir(parents=True)
    values = "dict(python=sys.executable, folder=os.getcwd(), arguments=sys.argv[1:])"
    (folder / "tests" / "benchmarks" / "echo.py").write_text(f"import json, os, sys; print(json.dumps({values}))")
    return folder


def test_a_side_runs_with_its_interpreter_in_its_checkout(benchmarks, tmp_path):
    paired = benchmarks("paired")
    folder = checkout(tmp_path / "other")
    printed = paired.Side("other", "echo", ["a", "b"], folder=folder).run(threads=1)
    assert (printed["folder"], printed["arguments"]) == (str(folder / "tests" / "benchmarks"), ["a", "b"])
    assert printed["python"] == sys.executable
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"words": "\'"$*"\'"}\'\n')
    python.chmod(0o755)
    printed = paired.Side("other", "echo", ["a", "b"], str(python), folder).run(threads=1)
    assert printed["words"] == "-m echo a b"


def test_the_other_state_does_the_same_work_with_its_code(benchmarks):
    paired = benchmarks("paired")
    ours = paired.Side("ours", "ours.train", ["recipe"])
    arguments = SimpleNamespace(against=paired.ROOT, python=Path(sys.executable))
    other = paired.other_state(ours, arguments)
    assert (other.name, other.module, other.arguments) == ("other", "ours.train", ["recipe"])
    assert (other.python, other.folder) == (sys.executable, paired.ROOT)


def test_an_interpreter_that_imports_another_checkout_is_refused(benchmarks, tmp_path):
    paired = benchmarks("paired")
    arguments = SimpleNamespace(against=checkout(tmp_path / "other"), python=Path(sys.executable))
    with pytest.raises(
        SystemExit, match=r"imports lorarec from .*, not from .*other\. Give the interpreter by --python"
    ):
        paired.other_state(paired.Side("ours", "echo"), arguments)
    arguments.python = None
    with pytest.raises(SystemExit, match=r"other/\.venv/bin/python does not exist"):
        paired.other_state(paired.Side("ours", "echo"), arguments)
    with pytest.raises(SystemExit, match=r"nowhere/tests/benchmarks does not exist"):
        arguments = SimpleNamespace(against=tmp_path / "nowhere", python=Path(sys.executable))
        paired.other_state(paired.Side("ours", "echo"), arguments)


@pytest.mark.parametrize("program", ["train_ctr", "train_next_item"])
def test_two_states_can_be_compared_instead_of_the_peer(program, benchmarks, monkeypatch, tmp_path, capsys):
    paired, module = benchmarks("paired"), benchmarks(program)
    ran = []

    def run(side, threads):
        ran.append((side.name, side.module, side.folder, tuple(side.arguments)))
        rate = {"ours": 30.0, "other": 20.0}.get(side.name, 1.0)
        numbers = ("rows", "rows_in_all", "targets_per_second", "test_auc", "peak_memory_mib", "tokens_per_second")
        more = ("padding", "outside_share", "model_gflops", "gemm_bf16_gflops", "gemm_fp32_gflops")
        return {"rows_per_second": rate, **dict.fromkeys((*numbers, *more), 1.0)}

    monkeypatch.setattr(paired.Side, "run", run)
    monkeypatch.setattr(module, "copy_rows", lambda *_: {"train": 1, "test": 1}, raising=False)
    record = ["--record", str(tmp_path / "record.jsonl")]
    command = [program, "--against", str(paired.ROOT), "--python", sys.executable, "--pairs", "2", *record]
    monkeypatch.setattr(sys, "argv", command)
    module.main()
    assert [name for name, *_ in ran] == ["ours", "other", "machine"] * 2
    assert ran[0][1:] == ran[1][1:], "both states get the same arguments"
    assert "ours over other: 1.50x" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command, "--peer-attention", "sdpa"])
    with pytest.raises(SystemExit, match="--peer-attention is the peer's"):
        module.main()
    monkeypatch.setattr(sys, "argv", [program, "--python", sys.executable])
    with pytest.raises(SystemExit, match="name that by --against"):
        module.main()


def test_the_watch_counts_each_row_once_per_epoch_and_excludes_evaluation(
    benchmarks, tiny_checkpoint, tmp_path, monkeypatch
):
    train, watch = benchmarks("ours.train"), benchmarks("ours.watch")
    now = itertools.count()
    clock = [0]
    monkeypatch.setattr(watch, "time", SimpleNamespace(perf_counter=lambda: clock[0] + next(now)))

    def evaluate(guards, state):
        clock[0] += 1_000_000

    monkeypatch.setattr(Guards, "on_evaluation_end", evaluate)
    backbone = f"backbone={{name: text, checkpoint: {tiny_checkpoint('bert')}, max_length: 96}}"
    figures = train.train("quickstart", [backbone, *SMALL], tmp_path / "run", cost=True)
    assert figures["rows"] == 2 * figures["rows_in_all"]
    assert len(figures["epoch_seconds"]) == 2
    assert clock[0] == 2_000_000
    assert max(figures["epoch_seconds"]) < 1_000_000, (
        "each reading of the clock takes a second, an evaluation a million seconds"
    )
    assert sum(figures["shares"].values()) == pytest.approx(1)
    assert 0 < figures["outside_share"] < 1
    assert 0 < figures["padding"] < 1
    # Two blocks of 8192 linear weights, and LoRA's 1024: forward, backward except the lowest block, LoRA's gradient.
    per_token = figures["model_gflops"] * 1e9 / figures["tokens_per_second"]
    assert 2 * 2 * 9216 + 2 * 8192 < per_token < 2 * 2 * 2 * 9216 + 2 * 2 * 1024
    assert figures["test_log_loss"] == figures["test"]["log_loss"]


@pytest.mark.parametrize("side", sorted(f"{path.parent.name}.{path.stem}" for path in FOLDER.glob("*/*.py")))
def test_a_side_can_be_imported(side, benchmarks):
    assert benchmarks(side).__doc__


def test_every_stage_of_preparing_the_data_is_timed(benchmarks, tiny_checkpoint):
    prepare, stages = benchmarks("ours.prepare"), benchmarks("ours.stages")
    backbone = f"backbone={{name: text, checkpoint: {tiny_checkpoint('bert')}, max_length: 96}}"
    figures = prepare.prepare("quickstart", [backbone, *SMALL])
    assert all(figures[f"{stage}_seconds"] > 0 for stage in (*stages.STAGES, "rest"))

"""A profile shows where the time of a run's steps goes, and does not change the trained weights."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import lorarec
from lorarec.contracts import TrainState
from lorarec.engine.callbacks import ProgressReport
from lorarec.engine.profile import profile_table
from lorarec.errors import Interrupted
from lorarec.pipeline import build_fit

Train = Callable[..., Path]


def trained(
    folder: Path, checkpoint: Path, *, resume: bool = False, evaluate: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """Train a tiny random model into a folder, with these settings of `train` and `evaluate`."""
    recipe = {
        "name": "profiled",
        "data": {"source": {"name": "synthetic", "users": 40, "items": 40, "events": 480}},
        "backbone": {"name": "text", "checkpoint": str(checkpoint), "max_length": 32},
        "adapter": {"name": "lora", "dropout": 0.2},
        "head": "ctr",
        "train": {"epochs": 1, "batch_size": 16, **settings},
        "evaluate": evaluate or {},
    }
    lorarec.train(recipe, output=folder, resume=resume)
    return folder


@pytest.fixture
def train(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Train:
    """Train into a folder of the test with this name."""
    return lambda name, **settings: trained(tmp_path / name, tiny_checkpoint("bert"), **settings)


@pytest.fixture(scope="module")
def short(tiny_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with a profile, which tests share."""
    return trained(tmp_path_factory.mktemp("short") / "run", tiny_checkpoint("bert"), max_steps=4, profile=True)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Do something in the middle of training."""

    def on_optimizer_step(self: ProgressReport, state: TrainState) -> None:
        if state.step == step:
            act()

    monkeypatch.setattr(ProgressReport, "on_optimizer_step", on_optimizer_step)


def table(run: Path) -> str:
    return (run / "profile" / "steps.md").read_text()


def shares(rows: str) -> list[float]:
    return [float(share) for share in re.findall(r"([-\d.]+)%", rows)]


def marks(run: Path) -> dict[str, int]:
    """How often each mark of the loop is in the trace."""
    with gzip.open(run / "profile" / "trace.json.gz") as file:
        names = [event["name"] for event in json.load(file)["traceEvents"] if event.get("cat") == "user_annotation"]
    return {name: names.count(name) for name in names}


def weights(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.safetensors")}


def test_a_profile_shows_steps_three_to_eight_part_by_part(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run", profile=True, accumulate=2, max_steps=9)
    counts = marks(run)
    assert {name: counts[name] for name in ("data", "forward", "backward")} == {
        "data": 6,
        "forward": 12,
        "backward": 12,
    }
    text = table(run)
    assert text.startswith("Optimizer steps 3 to 8: ")
    parts, operators = text.split("| operator")
    assert sum(shares(parts)) == pytest.approx(100, abs=0.5)
    assert sum(shares(operators)) == pytest.approx(100, abs=0.8)
    assert min(shares(text)) >= 0
    forward, backward = (float(re.search(rf"\| {part} +\| +([\d.]+)", parts)[1]) for part in ("forward", "backward"))
    whole = float(re.search(r"([\d.]+) ms a step", text)[1])
    assert forward + backward > whole / 4
    assert "| aten::" in operators
    assert text in capsys.readouterr().err


def test_evaluations_and_checkpoints_between_the_steps_do_not_count(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = build_fit.evaluate

    def evaluate(*arguments: Any) -> Any:
        torch.linalg.inv(torch.randn(800, 800))  # training needs no such operator
        return quick(*arguments)

    monkeypatch.setattr(build_fit, "evaluate", evaluate)
    monkeypatch.setattr("lorarec.engine.profile.STEPS", 2)  # each evaluation in a trace takes seconds to read
    run = train("run", profile=True, max_steps=5, save_every=1, evaluate={"every": 1})
    assert marks(run)["evaluation"] == 2  # after the steps 2 and 3
    assert marks(run)["checkpoint"] == 2
    # Clipping has a linalg operator of its own, so that the prefix alone is not enough.
    assert "linalg_inv" not in table(run) and "linalg_solve" not in table(run)
    other = re.search(r"\| other .*?([\d.]+)%", table(run))
    assert float(other[1]) < 50


def test_a_profile_does_not_change_the_trained_weights(train: Train, short: Path) -> None:
    plain = train("plain", max_steps=4)
    assert weights(plain) == weights(short)
    assert len(weights(plain)) >= 2
    assert not (plain / "profile").exists()


def test_a_profiled_run_is_loaded_with_or_without_its_profile(short: Path, tmp_path: Path) -> None:
    before = lorarec.load(short).predict(items=["i7"], histories=[["i3"]])
    run = shutil.copytree(short, tmp_path / "run")
    shutil.rmtree(run / "profile")
    assert lorarec.load(run).predict(items=["i7"], histories=[["i3"]]) == before


def test_a_short_run_shows_the_steps_it_has(short: Path) -> None:
    assert table(short).startswith("Optimizer steps 3 to 4: ")


def test_a_run_too_short_for_a_profile_says_so(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run", max_steps=2, profile=True)
    assert not (run / "profile").exists()
    assert "No profile: it begins after 2 steps, and this run took no more than 2." in capsys.readouterr().err


def test_a_resumed_run_has_a_profile_of_its_own_steps(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train("whole", max_steps=8)
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Interrupted):
            train("run", max_steps=8, profile=True)
    assert table(whole.with_name("run.unfinished")).startswith("Optimizer steps 3 to 4: ")
    run = train("run", max_steps=8, profile=True, resume=True)
    assert table(run).startswith("Optimizer steps 7 to 8: ")
    assert weights(run) == weights(whole)


@pytest.mark.parametrize("first", [True, False])
def test_a_profile_may_be_added_or_left_out_when_a_run_is_resumed(
    first: bool, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Interrupted):
            train("run", max_steps=5, profile=first)
    run = train("run", max_steps=5, profile=not first, resume=True)
    assert (run / "profile").exists() is not first


def test_a_run_that_fails_leaves_no_profiler_running(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    running = torch._C._autograd._profiler_enabled
    seen = []

    def fail() -> None:
        seen.append(running())
        raise MemoryError

    at_step(monkeypatch, 4, fail)
    with pytest.raises(MemoryError):
        train("run", max_steps=9, profile=True)
    assert seen == [True]
    assert not running()


def event(name: str, start: float, end: float, own: float = 0.0, gpu: float = 0.0, device: str = "CPU") -> Any:
    """An event of the profiler; times in milliseconds, `own` on the CPU and `gpu` of the kernels it starts."""
    return SimpleNamespace(
        name=name,
        device_type=SimpleNamespace(name=device),
        time_range=SimpleNamespace(start=start * 1000, end=end * 1000),
        self_cpu_time_total=own * 1000,
        self_device_time_total=gpu * 1000,
    )


STEPS = [
    *(event("ProfilerStep*", 0, 100), event("ProfilerStep*", 100, 240)),
    *(event("data", 0, 4), event("forward", 5, 45), event("backward", 45, 85), event("optimizer", 85, 95)),
    *(event("forward", 105, 145), event("backward", 145, 185), event("optimizer", 185, 195)),
    event("evaluation", 196, 236),
    *(event("aten::mm", 6, 26, own=20, gpu=10), event("aten::add", 27, 29, own=2, gpu=1)),
    *(event("aten::mm", 150, 180, own=30, gpu=70), event("aten::sort", 200, 230, own=30, gpu=30)),
]


def cells(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_each_part_has_its_milliseconds_a_step_and_its_share() -> None:
    table = profile_table(STEPS, 3, 4, on_gpu=False)
    assert table.startswith("Optimizer steps 3 to 4: 100.00 ms a step")  # 240 less 40 of evaluation, by two
    assert cells(table, "data (waiting for the next batch)") == ["2.00", "2.0%"]
    assert cells(table, "forward") == cells(table, "backward") == ["40.00", "40.0%"]
    assert cells(table, "optimizer (clipping included)") == ["10.00", "10.0%"]
    assert cells(table, "other (moving the batch, logging, callbacks)") == ["8.00", "8.0%"]


def test_the_most_expensive_operators_come_first_and_those_of_an_evaluation_are_left_out() -> None:
    table = profile_table(STEPS, 3, 4, on_gpu=False)
    assert cells(table, "aten::mm") == ["1", "25.00", "25.0%"]
    assert cells(table, "aten::add") == ["0.5", "1.00", "1.0%"]
    assert table.index("aten::mm") < table.index("aten::add")
    assert "aten::sort" not in table
    assert cells(table, "no operator (Python, waiting)") == ["", "74.00", "74.0%"]


def test_gpu_time_counts_to_the_part_that_launched_the_kernels() -> None:
    kernel = event("ampere_gemm", 160, 230, device="CUDA")
    annotation = event("forward", 20, 60, device="CUDA")  # the marks appear again among the events of the GPU
    table = profile_table([*STEPS, kernel, annotation], 3, 4, on_gpu=True)
    assert cells(table, "forward") == ["40.00", "40.0%", "5.50"]
    assert cells(table, "backward") == ["40.00", "40.0%", "35.00"]
    assert cells(table, "aten::mm") == ["1", "40.00", "40.0%"]
    assert "ampere" not in table
    assert cells(table, "the GPU waits") == ["", "59.50", "59.5%"]


def test_beyond_the_ten_most_expensive_operators_only_their_sum_is_shown() -> None:
    many = [event(f"aten::op{number:02d}", 6, 7, own=number) for number in range(1, 13)]
    table = profile_table([*STEPS[:10], *many], 1, 2, on_gpu=False)
    assert table.count("aten::op") == 10
    assert "aten::op02" not in table
    assert cells(table, "all other operators") == ["", "1.50", "1.5%"]  # (1 + 2) / 2 steps

"""Stopping and resuming: signals, a changed recipe, damaged checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lorarec.engine.checkpoint_files import read_checkpoint
from lorarec.engine.fit import Fit

STEPS = ("train.max_steps=6", "train.save_every=2", "--output", "run")
LATEST = Path("run.unfinished/checkpoints/step-00000003")


def signalled(monkeypatch: pytest.MonkeyPatch, number: int, times: int = 1, at: int = 3) -> None:
    """Send this process a signal from within a step."""
    step = Fit._step

    def with_signal(self: Fit, *given: Any) -> None:
        step(self, *given)
        if self.state.step == at:
            for _ in range(times):
                os.kill(os.getpid(), number)

    monkeypatch.setattr(Fit, "_step", with_signal)


@pytest.fixture
def stopped(recipe: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe of a run that was stopped after step 3 of 6; its folder is run.unfinished."""
    path = recipe()
    with monkeypatch.context() as patch:
        signalled(patch, signal.SIGINT)
        assert command("train", path, *STEPS).code == 130
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_with_a_checkpoint_from_which_it_can_be_resumed(
    number: signal.Signals,
    recipe: Callable[..., Path],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = recipe()
    with monkeypatch.context() as patch:
        signalled(patch, number)
        result = command("train", path, *STEPS)
    assert result.code == 130 and LATEST.is_dir() and not Path("run").exists()
    last = result.err.splitlines()[-1]
    assert last.startswith("Stopped after step 3 of 6.") and str(LATEST) in last and "--resume" in last
    assert command("train", path, *STEPS, "--resume").code == 0
    assert Path("run/metrics.json").exists() and not Path("run.unfinished").exists()


def test_a_second_signal_ends_training_at_once(
    recipe: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(monkeypatch, signal.SIGINT, times=2)
    result = command("train", recipe(), *STEPS)
    assert result.code == 130 and "Traceback" not in result.err
    assert "Stopped at once" in result.err and "--resume" in result.err
    assert [path.name for path in LATEST.parent.iterdir()] == ["step-00000002"]


def test_a_run_stopped_at_once_before_any_checkpoint_leaves_no_files(
    recipe: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(monkeypatch, signal.SIGINT, times=2, at=1)
    assert command("train", recipe(), *STEPS).code == 130
    assert list(Path().iterdir()) == []


def test_a_process_that_gets_sigterm_exits_with_130_and_can_be_resumed(
    recipe: Callable[..., Path], command: Callable[..., Any]
) -> None:
    path = recipe()
    steps = ("train.epochs=900", "train.max_steps=9000", "train.log_every=1", "evaluate.every=9000", "--output", "run")
    argv = [sys.executable, "-m", "lorarec", "train", str(path), *steps]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 2/"):
            process.send_signal(signal.SIGTERM)
            break
    _, rest = process.communicate()
    assert process.returncode == 130 and "Traceback" not in rest
    assert "The same command with --resume continues from there." in rest
    changed = command("train", path, *steps, "train.epochs=1", "--resume")
    assert changed.code == 2 and "train.epochs: was 900, is 1" in changed.err


def test_a_run_with_a_changed_recipe_is_not_resumed_and_the_changes_are_listed(
    stopped: Path, refused: Callable[..., str]
) -> None:
    changes = ["adapter.r=4", "train.learning_rate=0.1"]
    says = [
        *("run.unfinished was started with other settings or data", "  adapter.r: was 2, is 4"),
        *("  train.learning_rate: was 0.0003, is 0.1", "Undo the changes, or train into another folder"),
    ]
    refused("train", stopped, *STEPS, *changes, "--resume", says=says, lines=4)


def test_a_run_whose_backbone_has_changed_is_not_resumed(
    recipe: Callable[..., Path],
    command: Callable[..., Any],
    refused: Callable[..., str],
    tiny_checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = Path(shutil.copytree(tiny_checkpoint("bert"), "bert"), "model.safetensors")
    argv = ("train", recipe(), "backbone.checkpoint=./bert", *STEPS)
    with monkeypatch.context() as patch:
        signalled(patch, signal.SIGINT)
        assert command(*argv).code == 130
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    says = ["run.unfinished was started with other weights of the backbone", "Restore the weights"]
    refused(*argv, "--resume", says=says)


def test_a_stopped_run_is_not_started_again_without_resume(stopped: Path, refused: Callable[..., str]) -> None:
    refused("train", stopped, *STEPS, says=["run.unfinished holds a stopped run. Add --resume"])


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_an_earlier_one_can_be_used(
    name: str, stopped: Path, refused: Callable[..., str], command: Callable[..., Any]
) -> None:
    file = LATEST / name
    content = file.read_bytes()
    resume = ("train", stopped, *STEPS, "--resume")
    advice = f"Remove the folder {LATEST} to resume from an earlier checkpoint"
    file.write_bytes(content[: len(content) // 2])
    refused(*resume, says=[f"{file}: not as it was written (truncated or changed).", advice])
    file.write_bytes(b"[]" if name == "manifest.json" else content[:-1] + bytes([content[-1] ^ 1]))
    refused(*resume, says=[f"{LATEST}/", "not as it was written (truncated or changed).", advice])
    file.unlink()
    refused(*resume, says=[f"{file}: missing.", advice])
    shutil.rmtree(LATEST)
    assert command(*resume).code == 0


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json"])
@pytest.mark.parametrize("content", ["{", "[]", None], ids=["truncated", "changed", "missing"])
def test_a_damaged_unfinished_run_is_named(
    name: str, content: str | None, stopped: Path, refused: Callable[..., str]
) -> None:
    file = Path("run.unfinished") / name
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    refused(
        "train",
        stopped,
        *STEPS,
        "--resume",
        says=["run.unfinished", name, "emove" if name != "recipe.yaml" or content else "Move"],
    )


def fit_checksums(checkpoint: Path) -> None:
    """Writes a manifest of the files as they are."""
    files = ("weights.safetensors", "optimizer.safetensors", "state.json")
    sums = {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in files}
    (checkpoint / "manifest.json").write_text(json.dumps(sums))


@pytest.fixture
def forged(stopped: Path, refused: Callable[..., str]) -> Callable[..., str]:
    """forged(change): the message by which resuming is refused after `change` of the latest checkpoint, whose checksums
    are made to fit."""

    def of(change: Callable[[Path], Any]) -> str:
        change(LATEST)
        fit_checksums(LATEST)
        return refused("train", stopped, *STEPS, "--resume", says=[str(LATEST)])

    return of


def in_state(*keys: str, value: Any) -> Callable[[Path], Any]:
    """Replaces a value of state.json."""

    def change(checkpoint: Path) -> None:
        content = json.loads((checkpoint / "state.json").read_text())
        section = content
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        (checkpoint / "state.json").write_text(json.dumps(content))

    return change


def with_nan(checkpoint: Path) -> None:
    """Puts NaN into a weight."""
    weights = load_file(checkpoint / "weights.safetensors")
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, checkpoint / "weights.safetensors")


def test_a_forged_checkpoint_is_refused(forged: Callable[..., str]) -> None:
    state = (LATEST / "state.json").read_bytes()
    weights = (LATEST / "weights.safetensors").read_bytes()
    for change in (
        lambda checkpoint: (checkpoint / "state.json").write_text("[" * 100_000),
        lambda checkpoint: (checkpoint / "state.json").write_text("[]"),
        in_state("state", "step", value="three"),
        in_state("state", value=None),
        in_state("states", "optimizer", value={"entries": [["state", {"tensor": "none"}]]}),
        in_state("states", "optimizer", value={"a": 1, "b": 2}),
        in_state("states", "schedule", value=7),
        in_state("states", "callbacks", value=[]),
        with_nan,
    ):
        forged(change)
        (LATEST / "state.json").write_bytes(state)
        (LATEST / "weights.safetensors").write_bytes(weights)
    fit_checksums(LATEST)
    read_checkpoint(LATEST)  # nothing but the forged values was refused above


def test_a_checkpoint_holds_no_pickle(stopped: Path) -> None:
    assert {path.suffix for path in LATEST.iterdir()} == {".json", ".safetensors"}


def test_a_link_in_a_stopped_run_is_not_followed(stopped: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    Path("run.unfinished/adapter").symlink_to(tmp_path / "theirs")
    refused("train", stopped, *STEPS, "--resume", says=["'adapter' is a link"])

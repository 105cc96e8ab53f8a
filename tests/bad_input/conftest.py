"""The real command line, run in this process on tiny models, and the form of its error messages.

The tests of this folder check what happens when something is wrong with a recipe, plugins, data, run folders,
checkpoints, requests, the disk or the hub.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from lorarec.cli.main import run
from lorarec.config.yaml_text import write_yaml
from lorarec.registry import discover, faults

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


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The installed entry points, which a test may change."""
    installed = list(entry_points(group="lorarec"))
    for module in (discover, faults):
        monkeypatch.setattr(module, "entry_points", lambda group: installed)
    return installed


@pytest.fixture
def install(points: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """install("bend", "their-package", source): adds a plugin module to the installed ones."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, distribution: str, source: str) -> None:
        module = f"{distribution.replace('-', '_')}_{name}"
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        point = EntryPoint(name, module, "lorarec")
        vars(point)["dist"] = SimpleNamespace(name=distribution, version="1.2")
        points.append(point)

    return installed

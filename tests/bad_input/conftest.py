"""The real command line, run in this process on tiny models, and what a refusal must look like.

Every test of this folder is of one item of what can be wrong: with a recipe, plugins, data, run folders,
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
"""How lines begin that tell of the work before it was stopped."""


class Told(NamedTuple):
    """What a command answered."""

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
    """Commands run where there is nothing: a run in the wrong place would be seen."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """command("train", ...): exit code, standard output and standard error."""

    def called(*argv: object) -> Told:
        capsys.readouterr()
        code = run([str(word) for word in argv])
        return Told(code, *capsys.readouterr())

    return called


@pytest.fixture
def refused(command: Callable[..., Told]) -> Callable[..., str]:
    """refused("train", ..., says=[...]): the message of a user's mistake, which holds these words.

    It is one message, of `lines` lines; and nothing was made, removed or left half written.
    """

    def called(*argv: object, says: Sequence[str], lines: int = 1) -> str:
        before = sorted(Path.cwd().rglob("*"))
        told = command(*argv)
        assert told.code == 2, told
        assert "Traceback" not in told.err and told.out == ""
        message = [line for line in told.err.splitlines() if not line.startswith(PROGRESS)]
        assert len(message) == lines, told.err
        for words in says:
            assert words in "\n".join(message), told.err
        assert sorted(Path.cwd().rglob("*")) == before
        return "\n".join(message)

    return called


@pytest.fixture
def recipe(tmp_path: Path, tiny_checkpoint: Callable[[str], Path]) -> Callable[..., Path]:
    """recipe(head="rating", data={...}): a recipe file, its sections replaced by those given."""

    def written(head: str = "ctr", **sections: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(write_yaml(recipe_of(tiny_checkpoint("bert"), head) | sections))
        return path

    return written


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Callable[[str], Path]
) -> Callable[[str], Path]:
    """finished_run("ctr"): the folder of a trained run, made once; to be read only."""
    made: dict[str, Path] = {}

    def folder(head: str) -> Path:
        if head not in made:
            place = tmp_path_factory.mktemp(f"{head}-run")
            (place / "tiny.yaml").write_text(write_yaml(recipe_of(tiny_checkpoint("bert"), head)))
            assert run(["train", str(place / "tiny.yaml"), "--output", str(place / "run")]) == 0
            made[head] = place / "run"
        return made[head]

    return folder


@pytest.fixture
def copied_run(tmp_path: Path, finished_run: Callable[[str], Path]) -> Callable[[str], Path]:
    """copied_run("ctr"): a finished run of one's own, to damage."""

    def folder(head: str) -> Path:
        return Path(shutil.copytree(finished_run(head), tmp_path / f"{head}-copy"))

    return folder

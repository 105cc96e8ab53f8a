"""Law: killed, terminated or out of disk at any change of the disk, a command leaves the old state or the new one, and
the same command continues from it to the same result.

A seeded sample of the points by default; LORAREC_KILL_POINTS=all tries every one of them.
"""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lorarec
from lorarec.cli.main import run
from lorarec.config.yaml_text import write_yaml
from lorarec.pipeline.calibrate import calibrate

ALL = os.environ.get("LORAREC_KILL_POINTS") == "all"
pytestmark = [pytest.mark.no_cover, *([pytest.mark.timeout(0)] if ALL else [])]
# Child processes that are killed report no coverage.
SAMPLE = 6
"""Points of each stage that are tried by default; of calibrate, all are."""

CHANGES = ("os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.chmod", "os.truncate", "open")
GROWING = ("os.mkdir", "open", "opened", "fsync")
"""Changes that a full disk refuses."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


Act = Callable[[int, str, str], None]
"""Called with the number of a change, from 1, its kind and its path."""


class Command(NamedTuple):
    """A command in a folder, how to continue it, and what says that its result is there."""

    prepare: Callable[[Path], None]
    """Creates what the command reads in an empty folder."""
    argv: list[str]
    again: list[str]
    """The command that continues."""
    finished: str
    """What `again` says, with status 2, if the result is there already; empty if it makes it once more."""


def before_each_change(folder: Path, act: Act) -> None:
    """Call `act` before each change below the folder that this process makes from now on.

    A change is: a file opened for writing (before, and again before anything is written), fsync, chmod, mkdir, rename,
    unlink, rmdir. Hooks cannot be taken back, so this is for processes that end afterwards.
    """
    root, count, real_fsync, real_open = os.path.realpath(folder), 0, os.fsync, io.open

    def change(kind: str, path: Any, base: int = -1) -> None:
        nonlocal count
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        start = os.readlink(f"/proc/self/fd/{base}") if base >= 0 else os.getcwd()
        whole = os.path.join(start, os.fsdecode(path))
        if whole.startswith(root):
            count += 1
            act(count, kind, whole.removeprefix(root))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES:
            return
        if event == "open":
            path, _, flags = arguments
            if path is not None and not isinstance(path, int) and flags & WRITING:
                change(event, path)
        else:
            base = {"os.mkdir": 2, "os.rename": 2, "os.chmod": 2}.get(event, 1)
            change(event, arguments[0], arguments[base] if len(arguments) > base else -1)

    def fsync(handle: int) -> None:
        change("fsync", handle)
        real_fsync(handle)

    def opened(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        stream = real_open(file, mode, *given, **named)
        if not isinstance(file, int) and set(mode) & set("wax+"):
            change("opened", file)
        return stream

    os.fsync, io.open = fsync, opened  # type: ignore[assignment]
    sys.addaudithook(hook)


def in_child(work: Callable[[], object]) -> tuple[int, str]:
    """Exit code and standard error of a forked child that does the work; its code is the number that work returns."""
    reading, writing = os.pipe()

    def run() -> None:
        os.close(reading)
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        code = work()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
        said = stream.read()
    child.join()
    assert child.exitcode is not None
    return child.exitcode, said


def state(folder: Path) -> dict[str, Any]:
    """Everything that two runs of a command have in common, by path: contents, and modes."""
    contents: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        content: Any = path.read_bytes() if path.is_file() else None
        if path.name == "metrics.json":
            metrics = json.loads(content)
            content = {part: metrics[part] for part in ("validation", "test", "best_step", "steps")}
        elif path.name == "history.jsonl":
            lines = [json.loads(line) for line in content.decode().splitlines()]
            content = [{k: v for k, v in line.items() if not k.endswith(("seconds", "per_second"))} for line in lines]
        elif path.name in ("manifest.json", "README.md"):  # with the checksum of metrics.json, and the time
            content = None
        contents[path.relative_to(folder).as_posix()] = stat.S_IMODE(path.stat().st_mode), content
    return contents


def killed_at(number: int, sent: signal.Signals) -> Act:
    def act(count: int, kind: str, path: str) -> None:
        if count == number:
            os.kill(os.getpid(), sent)

    return act


def full_from(number: int) -> Act:
    def act(count: int, kind: str, path: str) -> None:
        if count >= number and kind in GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


def called(argv: list[str], folder: Path, act: Act | None = None) -> tuple[int, str]:
    """Status and messages of a command in a child process that runs in the folder, as the console script runs it."""

    def work() -> int:
        os.chdir(folder)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if act is not None:
            before_each_change(folder, act)
        return run(argv)

    return in_child(work)


def changes(argv: list[str], folder: Path) -> list[str]:
    """The changes that the command makes, in order: kind and path."""
    counted = folder.with_name("counted.txt")

    def work() -> int:
        os.chdir(folder)
        made: list[str] = []
        before_each_change(folder, lambda count, kind, path: made.append(f"{kind} {path}"))
        code = run(argv)
        counted.write_text("\n".join(made))
        return code

    assert in_child(work)[0] == 0
    return counted.read_text().splitlines()


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Callable[[str], Path]) -> Path:
    """Two epochs of a tiny BERT that the run keeps a copy of, with a checkpoint after each."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    recipe = {
        "name": "tiny",
        "data": {"source": {"name": "synthetic", "users": 12, "items": 30, "events": 120}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 16},
        "adapter": {"name": "lora", "r": 2, "dropout": 0.2},
        "head": {"name": "ctr"},
        "evaluate": {"metrics": ["auc"]},
        "train": {"batch_size": 32, "epochs": 2, "keep_checkpoints": 1, "log_every": 1},
    }
    path.write_text(write_yaml(recipe))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, recipe_file: Path) -> Path:
    """A finished run, calibrated once."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    lorarec.train(recipe_file, output=folder)
    calibrate(folder, "isotonic")
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, recipe_file: Path) -> Path:
    """A run that was killed before its second checkpoint had its name."""
    folder = tmp_path_factory.mktemp("stopped")

    def act(count: int, kind: str, path: str) -> None:
        if kind == "os.rename" and path.endswith("step-00000006"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert called(["train", str(recipe_file), "--output", "run"], folder, act)[0] == -signal.SIGKILL
    return folder / "run.unfinished"


@pytest.fixture(scope="module")
def commands(recipe_file: Path, finished: Path, stopped: Path) -> dict[str, Command]:
    def nothing(folder: Path) -> None:
        pass

    def with_run(folder: Path) -> None:
        shutil.copytree(finished, folder / "run")
        (folder / "rows.csv").write_text("item,history\ni1,i2|i3\n")
        (folder / "answers.csv").write_text("of an earlier day\n")

    def with_stopped_run(folder: Path) -> None:
        shutil.copytree(stopped, folder / "run.unfinished")

    train = ["train", str(recipe_file), "--output", "run"]
    predict = ["predict", "run", "--input", "rows.csv", "--output", "answers.csv"]
    recommend = ["recommend", "run", "--histories", "rows.csv", "--output", "answers.csv"]
    merge = ["merge", "run", "--output", "plain"]
    return {
        "train": Command(nothing, train, [*train, "--resume"], "that run is finished"),
        "resume": Command(with_stopped_run, [*train, "--resume"], [*train, "--resume"], "that run is finished"),
        "calibrate": Command(with_run, ["calibrate", "run"], ["calibrate", "run"], ""),
        "merge": Command(with_run, merge, merge, "plain exists already"),
        "predict": Command(with_run, predict, predict, ""),
        "recommend": Command(with_run, recommend, recommend, ""),
    }


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Callable[[Command], Path]]:
    """attempts(command): an empty folder, again and again, with what the command reads."""

    def prepared(command: Command) -> Path:
        folder = tmp_path / "here"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        command.prepare(folder)
        return folder

    return prepared


def points(name: str, made: list[str], most: int = SAMPLE) -> list[int]:
    """The numbers of the changes to try: of training, a sample before and one after its last checkpoint."""
    # A flush changes nothing that a killed process leaves, so the point after one is that before it.
    numbers = [number for number in range(1, len(made) + 1) if number == 1 or not made[number - 2].startswith("fsync")]
    if ALL:
        return numbers
    if name == "calibrate":
        return numbers[:: max(1, SAMPLE // most)]
    steps = [number for number in numbers if "unfinished/checkpoints/" in made[number - 1]]
    draw = random.Random(0)
    stages = numbers[: max(steps, default=0)], numbers[max(steps, default=0) :]
    return sorted({1, *(number for stage in stages for number in draw.sample(stage, min(most, len(stage))))})


def trials(
    name: str, command: Command, attempts: Callable[[Command], Path], most: int = SAMPLE
) -> Iterator[tuple[int, Path, str, dict[str, Any]]]:
    """For each change to disturb: its number, a new folder, which one it is, and what an undisturbed command leaves."""
    folder = attempts(command)
    made = changes(command.argv, folder)
    expected = state(folder)
    for number in points(name, made, most):
        yield number, attempts(command), f"change {number} of {len(made)}: {made[number - 1]}", expected


def continued(command: Command, folder: Path, expected: dict[str, Any], where: str) -> None:
    """Continue, and compare with an undisturbed command."""
    code, said = called(command.again, folder)
    done = code == 2 and command.finished and command.finished in said
    assert code == 0 or done, f"{where}: {said}"
    assert state(folder) == expected, where


@pytest.mark.parametrize("name", ["train", "resume", "calibrate", "merge", "predict", "recommend"])
def test_a_command_killed_at_any_change_of_the_disk_is_continued_to_the_same_result(
    name: str, commands: dict[str, Command], attempts: Callable[[Command], Path]
) -> None:
    command = commands[name]
    for number, folder, change, expected in trials(name, command, attempts):
        before, where = state(folder), f"killed before {change}"
        assert called(command.argv, folder, killed_at(number, signal.SIGKILL))[0] == -signal.SIGKILL, where
        if (folder / "run").exists():
            lorarec.load(folder / "run")
        if "answers.csv" in before:
            answers = state(folder)["answers.csv"]
            assert answers in (before["answers.csv"], expected["answers.csv"]), where
        continued(command, folder, expected, where)


@pytest.mark.parametrize("name", ["train", "calibrate", "merge", "predict"])
def test_a_disk_that_is_full_from_any_change_on_is_one_sentence_and_the_command_continues_later(
    name: str, commands: dict[str, Command], attempts: Callable[[Command], Path]
) -> None:
    command = commands[name]
    codes = []
    for number, folder, change, expected in trials(name, command, attempts, most=2):
        where = f"full from {change}"
        code, said = called(command.argv, folder, full_from(number))
        codes.append(code)
        whole = code == 0 and state(folder) == expected  # nothing grew from here on
        assert whole or (code == 2 and "disk is full" in said), f"{where}: {said}"
        assert "Traceback" not in said and ".partial" not in " ".join(state(folder)), f"{where}: {said}"
        continued(command, folder, expected, where)
    assert 2 in codes, "no full disk was noticed"


@pytest.mark.parametrize("name", ["train", "calibrate", "merge"])
def test_sigterm_at_any_change_of_the_disk_ends_with_130_and_the_command_continues_later(
    name: str, commands: dict[str, Command], attempts: Callable[[Command], Path]
) -> None:
    command = commands[name]
    for number, folder, change, expected in trials(name, command, attempts, most=2):
        where = f"SIGTERM before {change}"
        code, said = called(command.argv, folder, killed_at(number, signal.SIGTERM))
        assert code == 130 and "Stopped" in said, f"{where}: {said}"
        assert "Traceback" not in said, f"{where}: {said}"
        continued(command, folder, expected, where)

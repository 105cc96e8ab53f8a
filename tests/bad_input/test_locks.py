"""One process at a time writes a run, an output or answers; signals outside of the training loop; planted links."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lorarec
from lorarec.cli.main import run
from lorarec.disk import locked
from lorarec.errors import Interrupted
from lorarec.pipeline import finish, train

ROWS = "item,history\ni1,i2\n"


@contextmanager
def other_process(target: Path) -> Iterator[int]:
    """The id of another process that is writing the target."""
    ready, go = multiprocessing.Pipe(), multiprocessing.Pipe()

    def write() -> None:
        with locked(target):
            ready[0].send(os.getpid())
            go[1].recv()

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    try:
        yield ready[1].recv()
    finally:
        go[0].send(None)
        process.join()


def test_a_second_training_into_one_output_is_refused_however_it_is_spelled(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    Path("real").mkdir()
    Path("link").symlink_to("real")
    with other_process(Path("real/run")) as number:
        says = [f"run is being written by another process ({number} on ", "Wait until it has ended"]
        for spelled in ("real/run", "real/../real/run", "link/run", Path("real/run").absolute()):
            refused("train", recipe(), "--output", spelled, says=says)
            refused("train", recipe(), "--output", spelled, "--resume", says=says)
    assert not Path("real/run.unfinished").exists()


def test_one_of_several_seeds_that_is_being_trained_is_refused(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    with other_process(Path("run-seed1")):
        refused("train", recipe(), "seeds=1,2", "--output", "run", says=["run-seed1 is being written"])


def test_a_second_resume_is_refused_and_the_first_continues(
    recipe: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe()
    argv = ["train", str(path), "--output", "run"]
    codes: list[int] = []
    gathered = train.gather_run_data

    def meanwhile(*given: Any) -> Any:
        child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(run([*argv, "--resume"])))
        child.start()
        child.join()
        codes.append(child.exitcode or 0)
        return gathered(*given)

    monkeypatch.setattr(train, "gather_run_data", meanwhile)
    assert command(*argv).code == 0
    assert codes == [2] and Path("run/metrics.json").exists()


@pytest.mark.parametrize("name", ["calibrate", "merge", "predict", "recommend"])
def test_a_second_writer_of_an_output_is_refused(
    name: str, copied_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    folder = copied_run("ctr")
    Path("rows.csv").write_text(ROWS)
    target = {"calibrate": folder / "manifest.json", "merge": Path("out")}.get(name, Path("out.csv"))
    options = {
        "calibrate": [],
        "merge": ["--output", "out"],
        "predict": ["--input", "rows.csv", "--output", "out.csv"],
        "recommend": ["--histories", "rows.csv", "--output", "out.csv"],
    }
    with other_process(target) as number:
        refused(name, folder, *options[name], says=[f"is being written by another process ({number} on "])


def test_what_a_killed_process_has_locked_is_free(recipe: Callable[..., Path], command: Callable[..., Any]) -> None:
    Path(".run.lorarec-lock").write_text(" (1 on elsewhere)")
    assert command("train", recipe(), "--output", "run").code == 0
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_planted_links_are_neither_followed_nor_removed(
    copied_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    folder = copied_run("ctr")
    Path("victim").write_text("mine")
    Path("rows.csv").write_text(ROWS)
    names = (
        ".out.csv.partial",
        ".plain.partial",
        ".plain.0123456789abcdef.partial",
        ".out.csv.0123456789abcdef.partial",
    )
    for name in names:
        Path(name).symlink_to("victim")
    assert command("predict", folder, "--input", "rows.csv", "--output", "out.csv").code == 0
    assert command("merge", folder, "--output", "plain").code == 0
    assert Path("victim").read_text() == "mine" and all(Path(name).is_symlink() for name in names)


def test_all_files_of_a_run_and_of_a_merged_backbone_have_the_usual_mode(
    recipe: Callable[..., Path], command: Callable[..., Any]
) -> None:
    before = os.umask(0o027)
    try:
        assert command("train", recipe(), "--output", "run").code == 0
        assert command("calibrate", "run").code == 0
        assert command("merge", "run", "--output", "plain").code == 0
    finally:
        os.umask(before)
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert len(files) > 15 and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_a_run_whose_first_files_alone_were_written_starts_again_and_says_so(
    recipe: Callable[..., Path], command: Callable[..., Any]
) -> None:
    Path("run.unfinished").mkdir()
    Path("run.unfinished/recipe.yaml").write_text("name: ti")  # a former version wrote it first
    result = command("train", recipe(), "--output", "run", "--resume")
    assert (
        result.code == 0 and "run.unfinished has no checkpoint yet, so the run starts from the beginning" in result.err
    )
    assert [path.name for path in Path().iterdir()] == ["run"]


def sent(number: signal.Signals) -> Callable[..., Any]:
    """Whatever is called sends this process a signal instead."""

    def send(*given: Any, **named: Any) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("the signal comes first")

    return send


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["data", "model", "predictions", "finish"])
def test_a_signal_outside_of_the_loop_ends_with_130_and_a_sentence(
    stage: str,
    number: signal.Signals,
    recipe: Callable[..., Path],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, name = {
        "data": (train, "gather_run_data"),
        "model": (train, "build_model"),
        "predictions": (train, "_final_predictions"),
        "finish": (finish, "check_saved"),
    }[stage]
    path = recipe()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, sent(number))
        result = command("train", path, "--output", "run")
    trained = stage in ("predictions", "finish")
    assert result.code == 130 and "Traceback" not in result.err
    assert ("--resume continues from the last checkpoint" if trained else "nothing was kept") in result.err
    assert [entry.name for entry in Path().iterdir()] == (["run.unfinished"] if trained else [])
    if trained:
        assert command("train", path, "--output", "run", "--resume").code == 0


def test_sigterm_raises_interrupted_from_python_and_its_handler_is_restored(
    recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(train, "build_model", sent(signal.SIGTERM))
    with pytest.raises(Interrupted, match="nothing was kept"):
        lorarec.train(recipe(), output="run")
    assert signal.getsignal(signal.SIGTERM) is before and list(Path().iterdir()) == []

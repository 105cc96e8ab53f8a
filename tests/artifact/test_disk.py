"""Writing to disk: whole or not at all, through no link, with the usual mode, and by one process at a time."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lorarec.disk import atomic_write, locked, move, remove, write_text
from lorarec.errors import ArtifactError


def in_child(work: Callable[[], None]) -> int | None:
    """The exit code of a child process that does the work."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    return child.exitcode


def test_a_file_is_replaced_when_the_block_ends_and_stays_when_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_text(file, "one")
    with pytest.raises(ValueError), atomic_write(file) as partial:
        partial.write_text("half")
        assert file.read_text() == "one"
        raise ValueError
    assert file.read_text() == "one" and list(tmp_path.iterdir()) == [file]
    write_text(file, "two")
    assert file.read_text() == "two" and list(tmp_path.iterdir()) == [file]


def test_a_folder_appears_whole_and_replaces_none_with_files(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for _ in range(2):
        target.mkdir(exist_ok=True)
        with atomic_write(target) as partial:
            partial.mkdir()
            (partial / "file").write_text("new")
        (target / "file").rename(tmp_path / "taken")
    (target / "file").write_text("old")
    says = "folder cannot be written[.] It was created in the meantime"
    with pytest.raises(ArtifactError, match=says), atomic_write(target) as partial:
        partial.mkdir()
        (partial / "file").write_text("new")
    assert (target / "file").read_text() == "old"


def test_no_planted_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".out.partial", ".out.lorarec-lock", ".out.0123456789abcdef.partial", "out"):
        (tmp_path / name).symlink_to(victim)
    write_text(tmp_path / "out", "theirs")
    assert (tmp_path / "out").read_text() == "theirs" and not (tmp_path / "out").is_symlink()
    with pytest.raises(ArtifactError, match=r"out cannot be written[.] A link is in the way"), locked(tmp_path / "out"):
        pass
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_all_files_have_the_mode_that_the_umask_gives(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "folder") as partial:
            partial.mkdir()
            save_file({"w": torch.zeros(2)}, partial / "weights.safetensors")
            (partial / "text").write_text("")
        with atomic_write(tmp_path / "w.safetensors") as partial:
            save_file({"w": torch.zeros(2)}, partial)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~mask}


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "file"

    def killed() -> None:
        with atomic_write(file) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1 and not file.exists()
    with atomic_write(file) as partial:
        partial.write_text("mine")
        write_text(file, "of another process, meanwhile")  # it leaves the folder that is in use
    assert file.read_text() == "mine" and list(tmp_path.iterdir()) == [file]


def test_a_second_process_is_refused_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def refused() -> None:
        says = rf"out is being written by another process \({os.getppid()} on "
        with pytest.raises(ArtifactError, match=says), locked(target):
            pass

    def killed() -> None:
        with locked(target):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    with locked(target):
        assert in_child(refused) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_refuses_is_one_sentence_with_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match=r"cannot be written[.] The name is too long"):
        write_text(tmp_path / ("x" * 300), "")
    with pytest.raises(ArtifactError, match=r"none/file cannot be written. Nothing can be created there"):
        write_text(tmp_path / "none" / "file", "")
    write_text(tmp_path / ("ü" * 127), "a name of the longest possible length")
    for number, says in ((errno.ENOSPC, "The disk is full"), (errno.EROFS, "The disk is read-only")):

        def fails(*given: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch, pytest.raises(ArtifactError, match=f"file cannot be written[.] {says}"):
            patch.setattr(os, "fsync", fails)
            write_text(tmp_path / "file", "")
    with (
        pytest.raises(ArtifactError, match=r"file cannot be written[.] The disk is full"),
        atomic_write(tmp_path / "file"),
    ):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_moved_folder_is_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old" / "inner").mkdir(parents=True)
    (tmp_path / "old" / "inner" / "file").write_text("")
    flushed: list[str] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.append(os.readlink(f"/proc/self/fd/{handle}")) or real(handle)
    )
    move(tmp_path / "old", tmp_path / "new")
    names = [Path(path).relative_to(tmp_path).as_posix() for path in flushed]
    assert sorted(names[:-1]) == ["old", "old/inner", "old/inner/file"] and names[-1] == "."


def test_a_folder_that_cannot_be_moved_away_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    with monkeypatch.context() as patch, pytest.raises(ArtifactError):
        patch.setattr(os, "replace", refuse)
        remove(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

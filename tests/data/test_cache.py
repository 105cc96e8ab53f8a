"""The cache: what was cut, changed or left by a killed process is never read, and no folder to write to is no error."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from lorarec.contracts import Cached, DataError, cache_folder, cached, cached_table, read_table
from lorarec.data import cache, tables

CONTENT = bytes(range(256)) * 20
WRITER = """
import sys, time
import datasets
from pathlib import Path
from lorarec.data.cache import cached

def write(sink):
    sink.write(b"half")
    sink.flush()
    Path(sys.argv[2]).touch()
    while not Path(sys.argv[3]).exists():
        time.sleep(0.01)
    sink.write(b" whole")

datasets.config.HF_DATASETS_CACHE = Path(sys.argv[1])
print(cached("kind", sys.argv[4], write).content.to_pybytes())
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    cache._say_uncached.cache_clear()


def entry(content: bytes = CONTENT) -> Cached:
    return cached("kind", "key", lambda sink: sink.write(content))


def kept() -> list[str]:
    return sorted(path.name for path in (cache_folder() / "kind").iterdir())


def test_an_entry_is_computed_once_and_then_read() -> None:
    assert entry().content.to_pybytes() == CONTENT
    again = entry(b"not computed again")
    assert again.content.to_pybytes() == CONTENT and again.file == cache_folder() / "kind" / "key"


def test_an_empty_entry_is_an_entry() -> None:
    assert entry(b"").content.to_pybytes() == entry(b"other").content.to_pybytes() == b""


def test_no_flipped_bit_is_ever_read(caplog: pytest.LogCaptureFixture) -> None:
    file = entry().file
    assert file is not None
    whole = file.read_bytes()
    draw = random.Random(0)
    for position in [0, len(whole) - 1, *draw.sample(range(len(whole)), 100)]:
        changed = bytearray(whole)
        changed[position] ^= 1 << draw.randrange(8)
        file.write_bytes(changed)
        caplog.clear()
        assert entry().content.to_pybytes() == CONTENT
        assert caplog.text.count("its checksum differs") == 1, position
    assert file.read_bytes() == whole


def test_no_cut_or_extended_file_is_ever_read() -> None:
    file = entry().file
    assert file is not None
    whole = file.read_bytes()
    for length in [*range(40), *range(40, len(whole), 97), len(whole) - 1]:
        file.write_bytes(whole[:length])
        assert entry().content.to_pybytes() == CONTENT, length
    file.write_bytes(whole + b"x")
    assert entry().content.to_pybytes() == CONTENT


def test_a_damaged_table_is_converted_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text("user,item\n" + "".join(f"u{row},{row}\n" for row in range(100)))
    expected = read_table(tmp_path / "a.csv").to_list()
    (file,) = (cache_folder() / "tables").iterdir()
    for position in range(0, file.stat().st_size, 37):
        changed = bytearray(file.read_bytes())
        changed[position] ^= 0x10
        file.write_bytes(changed)
        assert read_table(tmp_path / "a.csv").to_list() == expected
    os.truncate(file, 500)
    caplog.clear()
    assert read_table(tmp_path / "a.csv").to_list() == expected
    assert len(caplog.records) == 1 and "checksum" in caplog.text


def test_a_changed_file_is_read_again_even_if_its_size_and_time_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item\na,1\n")
    before = path.stat()
    assert read_table(path).to_list() == [{"user": "a", "item": 1}]
    path.write_text("user,item\nb,2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_table(path).to_list() == [{"user": "b", "item": 2}]


def test_files_of_other_names_or_options_share_no_entry(tmp_path: Path) -> None:
    for name in ("u1.test", "u2.test"):
        (tmp_path / name).write_text("same")
        read = cached_table([tmp_path / name], [], lambda name=name: iter([pa.table({name: [1]})]))
        assert read.column_names == [name]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["before", "after"])
    monkeypatch.setattr(tables, "_key", lambda *_: next(keys))
    (tmp_path / "a.csv").write_text("user,item\na,1\n")
    with pytest.raises(DataError, match=r"a\.csv: changed while being read"):
        read_table(tmp_path / "a.csv")
    assert list((cache_folder() / "tables").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_once_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert entry().file is None and entry().content.to_pybytes() == CONTENT
            cached("other", "key", lambda sink: sink.write(CONTENT))
    assert len(caplog.records) == 1
    assert all(text in caplog.text for text in [str(tmp_path / "file"), "nothing is cached", "HF_DATASETS_CACHE"])


def test_a_disk_that_fills_up_leaves_no_partial_file(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert entry().content.to_pybytes() == CONTENT
    assert "No space left on device" in caplog.text and kept() == []


def _start(tmp_path: Path, key: str) -> subprocess.Popen[str]:
    """A process that stops half-way until the file `continue` is there."""
    argv = [sys.executable, "-c", WRITER, tmp_path / "cache", tmp_path / key, tmp_path / "continue", key]
    process = subprocess.Popen([str(each) for each in argv], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / key).exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_a_killed_process_leaves_nothing_after_the_next_use_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    killed, living = _start(tmp_path, "killed"), _start(tmp_path, "living")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(kept()) == 2, "both have begun a file"
    entry()
    assert [name for name in kept() if "killed" in name] == [], "the next writer of any entry removes it"
    (tmp_path / "continue").touch()
    assert living.communicate()[0] == "b'half whole'\n"
    assert kept() == ["key", "living"]


def test_two_processes_may_write_the_same_entry(tmp_path: Path) -> None:
    one = _start(tmp_path, "same")
    (tmp_path / "same").unlink()
    other = _start(tmp_path, "same")
    (tmp_path / "continue").touch()
    assert one.communicate()[0] == other.communicate()[0] == "b'half whole'\n"
    assert kept() == ["same"]

"""A value that is computed once: what is in it, what is on disk, and what happens where it cannot be shared.

Two real processes do this in `laws/test_two_processes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from lorarec.data.cache import cache_folder
from lorarec.engine import shared_arrays
from lorarec.errors import DataError

Once = Callable[[Callable[[], Any]], Any]
FIRST = SimpleNamespace(
    num_processes=2, process_index=0, local_process_index=0, is_local_main_process=True, is_main_process=True
)


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Once:
    """`computed_once` on the first of two processes, of which the other one has nothing to say."""
    monkeypatch.setattr(shared_arrays, "gather_object", lambda mine: [*mine, None])
    return lambda compute: shared_arrays.computed_once(FIRST, compute)  # type: ignore[arg-type]


def test_arrays_come_back_as_they_were_from_a_file_without_a_name(once: Once) -> None:
    numbers = np.arange(1000)
    table = pa.table({"numbers": numbers, "texts": pa.array(["a", None] * 500)})
    value = {
        "numbers": numbers,
        "again": numbers.view(),
        "part": numbers[10:20],
        "every second": numbers[::2],
        "one number": np.broadcast_to(np.float32(np.nan), (10**9,)),  # 4 GB, if it were written out
        "none": np.empty((0, 2), np.int8),
        "dataset": Dataset(table, fingerprint="x"),
        "slice": table.column("texts").chunk(0).slice(3),
        "lists": pa.LargeListArray.from_arrays(np.array([0, 1, 1, 3]), pa.array([1.0, 2.0, 3.0])),
    }
    read = once(lambda: value)
    for name in ("numbers", "again", "part", "every second", "none"):
        assert read[name].dtype == value[name].dtype
        np.testing.assert_array_equal(read[name], value[name])
    assert read["one number"].shape == (10**9,) and read["one number"].dtype == np.float32
    assert read["dataset"].data.table.equals(table) and read["dataset"]._fingerprint == "x"
    assert read["slice"].equals(value["slice"]) and read["lists"].equals(value["lists"])
    assert not list(cache_folder().glob(".processes*"))


def test_memory_that_arrays_share_is_written_once(once: Once, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, mapped = [], shared_arrays._map
    monkeypatch.setattr(
        shared_arrays, "_map", lambda packed, values: sizes.append(packed.file.stat().st_size) or mapped(packed, values)
    )
    numbers = np.arange(100_000)
    once(lambda: (numbers, numbers[:], pa.array(numbers)))
    assert numbers.nbytes <= sizes[0] < 1.1 * numbers.nbytes


@pytest.mark.parametrize("problem", ["disk", "object"])
def test_what_cannot_be_shared_is_kept_with_one_notice(
    problem: str, once: Once, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    value: Any = np.arange(3)
    if problem == "disk":
        (tmp_path / "file").touch()
        monkeypatch.setattr(shared_arrays, "cache_folder", lambda: tmp_path / "file" / "cache")
        said = "file/cache: Not a directory. Set the environment variable HF_DATASETS_CACHE"
    else:
        value, said = (lambda: None), "they hold what cannot go from process to process"
    assert once(lambda: value) is value
    (notice,) = caplog.messages
    assert said in notice


def test_an_error_is_marked_as_that_of_all_processes(once: Once) -> None:
    def refuse() -> None:
        raise DataError("row 3")

    with pytest.raises(DataError, match="row 3") as refused:
        once(refuse)
    assert refused.value.same_in_all_processes

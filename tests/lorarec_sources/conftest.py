"""A separate cache folder for each test, and real data if it is next to the checkout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

SHARED = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def real() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"shared/data/{name} is not next to the checkout")
        return SHARED / name

    return find


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write files (name=text or bytes) into the test's folder."""

    def write(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write

"""The tiny backbone of `lorarec.testing` in whole runs, as a plugin author uses it in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lorarec
from lorarec.pipeline.merge import merge

PLUGIN = """
from lorarec.contracts import hookimpl
from lorarec.testing import TinyBackbone

@hookimpl
def lorarec_backbones():
    return [TinyBackbone]
"""


@pytest.fixture(autouse=True)
def their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that offers the backbone."""
    folder = tmp_path / "site"
    info = folder / "their_backbone-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "their_backbone.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-backbone\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[lorarec]\ntiny = their_backbone\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_run_on_it_trains_loads_and_merges(adapter: str, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "source": {"name": "synthetic", "users": 20, "items": 40, "events": 240},
            "split": {"by": "time", "validation": 0.15, "test": 0.15},
        },
        "backbone": "tiny",
        "adapter": adapter,
        "head": "ctr",
        "train": {"epochs": 1, "batch_size": 64, "learning_rate": 1e-2},
    }
    trained = lorarec.train(recipe, output=tmp_path / "run")
    loaded = lorarec.load(tmp_path / "run")
    ids = trained.catalog.ids
    histories = [ids[:3]] * len(ids)
    assert np.array_equal(trained.predict(ids, histories), loaded.predict(ids, histories))
    assert (merge(tmp_path / "run", tmp_path / "merged") / "config.json").is_file()

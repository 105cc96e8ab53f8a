"""The plugins that docs/plugins.md spells out work as printed, and it lists all that can be offered."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lorarec.contracts import TrainState, plugin
from lorarec.testing import (
    FAMILIES,
    check_adapter,
    check_data_source,
    check_loss,
    check_metric,
    check_plugin,
    check_task_head,
    tiny_backbone,
)

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


@contextmanager
def printed(file: str, folder: Path) -> Iterator[ModuleType]:
    """The module that the docs spell out in the block that begins with this name."""
    (block,) = re.findall(rf"```python\n(# {file}\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / file).write_text(block, encoding="utf-8")
    name = file.removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, folder / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "options"),
    [("my_plugin.py", [{}, {"norms": False}]), ("my_method.py", [{"r": 4}, {"r": 4, "layers": [-1]}])],
)
def test_the_adapters_in_the_docs_work_as_printed(file: str, options: list[dict[str, Any]], tmp_path: Path) -> None:
    with printed(file, tmp_path) as module:
        (adapter,) = module.lorarec_adapters()
        for model_type, settings in zip(["bert", "gpt2"], options, strict=True):
            check_adapter(adapter, tiny_backbone(model_type), **settings)


def test_the_loss_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("focal.py", tmp_path) as module:
        (loss,) = module.lorarec_losses()
        check_loss(loss, gamma=1.0)


def test_the_metric_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("my_metric.py", tmp_path) as module:
        (metric,) = module.lorarec_metrics()
        check_metric(metric)
        numbers = {"predictions": [1.0, 2.0, 9.0], "references": [1.0, 3.0, 3.0], "users": [0, 0, 1]}
        assert metric(metric.Config()).module().compute(**numbers) == {"median_error": 1.0}


def test_the_callback_in_the_docs_stops_training_and_counts_on_where_it_is_resumed(tmp_path: Path) -> None:
    with printed("my_callback.py", tmp_path) as module:
        (callback,) = module.lorarec_callbacks()
        check_plugin(callback)
        state, patient = TrainState(), callback(callback.Config(seconds=1000))
        patient.on_fit_start(state)
        patient.on_optimizer_step(state)
        assert not state.stop
        patient.load_state_dict(patient.state_dict() | {"spent": 1001.0})
        patient.on_fit_start(state)
        patient.on_optimizer_step(state)
        assert state.stop and state.stop_reason == "1000 seconds have passed"


def test_the_package_in_the_docs_is_whole() -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    package = tomllib.loads(written)
    assert {"name", "version", "dependencies"} <= package["project"].keys()
    assert list(package["project"]["entry-points"]["lorarec"].values()) == package["tool"]["setuptools"]["py-modules"]


def test_the_head_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("my_head.py", tmp_path) as module:
        (head,) = module.lorarec_task_heads()
        check_task_head(head, max_history=3)


def test_the_click_task_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("my_task.py", tmp_path) as module:
        (head,) = module.lorarec_task_heads()
        check_task_head(head)
        check_task_head(head, negatives=2)


def test_the_source_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,at,bought\nu1,a,1,1\nu1,b,2,0\n", encoding="utf-8")
    (tmp_path / "items.csv").write_text("what,title\na,Red tent\nb,Blue tent\n", encoding="utf-8")
    with printed("my_source.py", tmp_path) as module:
        (source,) = module.lorarec_data_sources()
        check_data_source(source(source.Config(folder=tmp_path)))
        assert source.Config.renamed == {"path": "folder"}


def test_the_page_lists_every_hook_and_every_family() -> None:
    text = PAGE.read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(lorarec_\w+)`", text, re.MULTILINE))
    assert listed == {name for name in vars(plugin) if name.startswith("lorarec_")}
    assert len(FAMILIES) == 10

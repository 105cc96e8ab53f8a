"""Plugins: unknown, living in a package that is not installed, broken, and two of one name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lorarec.registry import discover


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """install("bend", "their-package", source): a plugin module, beside what is installed."""
    monkeypatch.syspath_prepend(tmp_path)
    points = list(entry_points(group="lorarec"))
    monkeypatch.setattr(discover, "entry_points", lambda group: points)

    def installed(name: str, distribution: str, source: str) -> None:
        module = f"{distribution.replace('-', '_')}_{name}"
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        point = EntryPoint(name, module, "lorarec")
        vars(point)["dist"] = SimpleNamespace(name=distribution, version="1.2")
        points.append(point)

    return installed


LORA_AGAIN = """
from lorarec.contracts import hookimpl
from lorarec_adapters.lora import Lora

class Again(Lora):
    pass

@hookimpl
def lorarec_adapters():
    return [Again]
"""


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("adapter=lorra", "There is no adapter 'lorra'. Did you mean 'lora'? Adapters: "),
        ("head=ctrr", "There is no head 'ctrr'. Did you mean 'ctr'? Heads: "),
        ("backbone=textt", "There is no backbone 'textt'. Did you mean 'text'? Backbones: "),
        ("data.source=synthetik", "There is no source 'synthetik'. Did you mean 'synthetic'? Sources: "),
        ("callbacks=[nothing]", "There is no callback 'nothing'"),
    ],
)
def test_an_unknown_plugin_brings_the_nearest_name_and_all_names(
    override: str, says: str, recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", recipe(), override, "--output", "run", says=[f"override '{override}': {says}"])


def test_a_plugin_known_to_live_elsewhere_brings_its_package(
    recipe: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [point for point in entry_points(group="lorarec") if point.name != "ia3"]
    monkeypatch.setattr(discover, "entry_points", lambda group: here)
    says = ["There is no adapter 'ia3'", "pip install ./plugins/lorarec-ia3"]
    refused("train", recipe(), "adapter=ia3", "--output", "run", says=says)


def test_a_plugin_that_fails_to_import_is_left_out_with_a_warning(
    recipe: Callable[..., Path], command: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("bend", "their-package", "import a_module_that_is_not_there\n")
    told = command("train", recipe(), "--output", "run")
    assert told.code == 0
    warning = "WARNING: Plugin 'bend' of their-package is broken: ModuleNotFoundError: No module named"
    assert told.err.count(warning) == 1 and "It is left out." in told.err


def test_a_plugin_that_fails_to_import_and_is_wanted_shows_its_own_error(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("bend", "their-package", "raise RuntimeError('bend needs a compass')\n")
    says = ["'bend' of their-package is broken: RuntimeError: bend needs a compass"]
    refused("train", recipe(), "adapter=bend", "--output", "run", says=says)


def test_two_entry_points_of_one_name_are_refused_naming_both_packages(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("lora", "their-package", LORA_AGAIN)
    says = ["Two packages offer a plugin 'lora': ", "their-package", "Uninstall one"]
    refused("train", recipe(), "--output", "run", says=says)


def test_two_classes_of_one_name_are_refused_naming_both_packages(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("lora_again", "their-package", LORA_AGAIN)
    says = ["Two plugins are the adapter 'lora': ", "Again of their-package", "LORAREC_DISABLE_PLUGINS=lora"]
    refused("train", recipe(), "--output", "run", says=says)

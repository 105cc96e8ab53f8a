"""Plugins: unknown, in a package that is not installed, broken, and two with the same name."""

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
    """install("bend", "their-package", source): adds a plugin module to the installed ones."""
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
def test_an_unknown_plugin_is_refused_with_the_nearest_name_and_all_names(
    override: str, says: str, recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", recipe(), override, "--output", "run", says=[f"override '{override}': {says}"])


def test_a_plugin_of_a_package_that_is_not_installed_is_refused_with_the_package(
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
    result = command("train", recipe(), "--output", "run")
    assert result.code == 0
    warning = "WARNING: Plugin 'bend' of their-package is broken: ModuleNotFoundError: No module named"
    assert result.err.count(warning) == 1 and "It is left out." in result.err


def test_a_plugin_that_fails_to_import_and_is_named_by_the_recipe_shows_its_error(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("bend", "their-package", "raise RuntimeError('bend needs a compass')\n")
    says = ["'bend' of their-package is broken: RuntimeError: bend needs a compass"]
    refused("train", recipe(), "adapter=bend", "--output", "run", says=says)


def test_two_entry_points_with_the_same_name_are_refused_naming_both_packages(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("lora", "their-package", LORA_AGAIN)
    says = ["Two packages offer a plugin 'lora': ", "their-package", "Uninstall one"]
    refused("train", recipe(), "--output", "run", says=says)


def test_two_classes_with_the_same_name_are_refused_naming_both_packages(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("lora_again", "their-package", LORA_AGAIN)
    says = ["Two plugins are the adapter 'lora': ", "Again of their-package", "LORAREC_DISABLE_PLUGINS=lora"]
    refused("train", recipe(), "--output", "run", says=says)

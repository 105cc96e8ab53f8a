"""`lorarec plugins` lists installed and broken plugins, and describes settings."""

from importlib import metadata
from types import SimpleNamespace

import pytest

import lorarec
from lorarec.cli.main import run
from lorarec.cli.plugins import setting_rows
from lorarec.config.strict import StrictConfig


@pytest.fixture
def one_broken(monkeypatch):
    """A package whose only plugin cannot be imported, in addition to the installed ones."""
    installed = list(metadata.entry_points(group="lorarec"))
    broken = metadata.EntryPoint("odd", "no_such_module_at_all", "lorarec")
    vars(broken)["dist"] = SimpleNamespace(name="odd-package", version="0")
    monkeypatch.setattr("lorarec.registry.discover.entry_points", lambda group: [*installed, broken])


def test_all_plugins_are_listed_together_with_a_broken_one(one_broken, capsys):
    assert run(["plugins"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert ["adapter", "lora"] in [row[:2] for row in rows]
    assert ["lorarec", lorarec.__version__] in [row[-2:] for row in rows]
    assert "Plugin 'odd' of odd-package is broken: ModuleNotFoundError" in printed


def test_show_prints_the_error_of_a_broken_plugin(one_broken, capsys):
    assert run(["plugins", "show", "odd"]) == 2
    assert "No module named 'no_such_module_at_all'" in capsys.readouterr().err.splitlines()[-1]


def test_show_prints_settings_paper_and_provider(capsys):
    assert run(["plugins", "show", "lora"]) == 0
    printed = capsys.readouterr().out
    assert f"Provided by lorarec {lorarec.__version__}." in printed
    assert "Paper: Hu et al., LoRA" in printed
    assert any(line.split()[:6] == ["r", "whole", "number", ">=", "1", "8"] for line in printed.splitlines())


def test_a_misspelled_plugin_gets_the_nearest_name(capsys):
    assert run(["plugins", "show", "adalroa"]) == 2
    message = "There is no plugin 'adalroa'. Did you mean 'adalora'? See 'lorarec plugins'."
    assert message in capsys.readouterr().err


def test_settings_are_described_with_type_default_and_text():
    class Settings(StrictConfig):
        path: str
        """The location,
        in full."""
        names: tuple[str, ...] | None = None
        sizes: dict[str, int] = {}
        flag: bool = True

    assert setting_rows(Settings) == [
        ("path", "text", "(required)", "The location, in full."),
        ("names", "list of text or null", "null", ""),
        ("sizes", "text to whole number", "{}", ""),
        ("flag", "true or false", "true", ""),
    ]

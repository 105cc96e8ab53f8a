"""A third-party package is available once it is installed; if it is missing, the message says so."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lorarec.cli.main import run

MODULE = '''
from lorarec.contracts import Adapter, hookimpl


class Unchanging(Adapter):
    """An adapter that trains nothing."""

    name = "still"
    summary = "nothing trains"

    def attach(self, backbone, plan, name="default"):
        return backbone.module

    def save(self, module, folder, name="default"):
        pass

    def restore(self, backbone, folder, name="default"):
        return backbone.module

    def merge(self, module, name="default"):
        return module


@hookimpl
def lorarec_adapters():
    return [Unchanging]
'''


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a plugin package, laid out as pip installs it."""
    folder = tmp_path / "site"
    described = folder / "their_plugins-0.3.dist-info"
    described.mkdir(parents=True)
    (folder / "their_module.py").write_text(MODULE)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugins\nVersion: 0.3\n")
    (described / "entry_points.txt").write_text("[lorarec]\nstill = their_module\n")
    return folder


def lorarec(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process with `folder` on its path."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "lorarec", *words], env=environment, capture_output=True, text=True, cwd=folder
    )


def test_an_installed_package_is_listed(installed):
    listed = lorarec(installed, "plugins")
    assert listed.returncode == 0, listed.stderr
    (row,) = [line.split() for line in listed.stdout.splitlines() if " still " in line]
    assert row == ["adapter", "still", "nothing", "trains", "their-plugins", "0.3"]


def test_a_plugin_that_is_not_installed_is_refused_with_the_names_of_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "quickstart", "adapter=still"]) == 2
    message = capsys.readouterr().err
    assert "'still'" in message and "lora" in message and "Traceback" not in message
    assert not (tmp_path / "runs").exists()


def test_a_broken_package_is_named_and_refused_only_if_it_is_used(installed, monkeypatch, capsys):
    (installed / "their_module.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(str(installed))
    assert run(["plugins", "show", "lora"]) == 0
    assert "'still' of their-plugins is broken" in capsys.readouterr().err
    assert run(["plugins", "show", "still"]) == 2
    assert "no_such_module_anywhere" in capsys.readouterr().err


def test_without_its_package_ia3_is_refused_with_the_command_that_adds_it(monkeypatch, capsys):
    others = [point for point in metadata.entry_points(group="lorarec") if point.name != "ia3"]
    monkeypatch.setattr("lorarec.registry.discover.entry_points", lambda group: others)
    assert run(["check", "quickstart", "adapter=ia3"]) == 2
    assert "pip install ./plugins/lorarec-ia3" in capsys.readouterr().err


@pytest.mark.parametrize("head", ["rating_process", "rating_ridge", "ctr_ridge"])
def test_without_their_package_its_heads_are_refused_with_the_command_that_adds_it(head, monkeypatch, capsys):
    others = [point for point in metadata.entry_points(group="lorarec") if point.name != "process"]
    monkeypatch.setattr("lorarec.registry.discover.entry_points", lambda group: others)
    assert run(["check", "quickstart", f"head={head}"]) == 2
    assert "pip install ./plugins/lorarec-process" in capsys.readouterr().err
